"""Sums to verdicts, and accuracies to CORE."""

from collections.abc import Mapping, Sequence

from hf_core_bpb.metrics.core import score_accuracies
from hf_core_bpb.types import Baselines, Kind, Scored, choose


def decide(kind: Kind, options: Sequence[Scored], gold: int) -> tuple[int | None, bool]:
    """Return the prediction and whether it is right.

    Multiple choice and schema: the option with the fewest nats per scored token, the first of equals.
    Language modeling: right where every token of the continuation is the model's argmax; no prediction.
    """
    if kind == "language_modeling":
        return None, options[0].greedy
    prediction = choose(options, "token")
    return prediction, prediction == gold


def core_score(accuracies: Mapping[str, float], baselines: Baselines) -> float:
    """Return the mean centered accuracy of tasks by name, accuracies as fractions: CORE, given its 22 tasks.

    v1 are the baselines of DCLM's paper, v2 those of its repository since September 2025 (arXiv:2406.11794).
    Raises InputError for a task without a file, no task at all, and accuracies that are no fractions.
    """
    return score_accuracies(accuracies).core_by(baselines)
