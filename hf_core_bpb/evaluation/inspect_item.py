"""One item of a task as a model sees it: its prompts, the tokens that are scored, and what each one costs."""

from dataclasses import dataclass

import numpy as np

from hf_core_bpb.errors import InputError
from hf_core_bpb.evaluation.core import CoreRun
from hf_core_bpb.evaluation.task_run import TaskStage
from hf_core_bpb.metrics.decision import decide
from hf_core_bpb.models.evaluation_mode import evaluation_mode
from hf_core_bpb.models.language_model import LanguageModel
from hf_core_bpb.scoring.engine import Engine
from hf_core_bpb.types import Request, Scored


@dataclass(frozen=True, slots=True)
class ScoredToken:
    """A token of the span that is scored, and its loss."""

    number: int
    text: str
    nats: float


@dataclass(frozen=True, slots=True)
class OptionView:
    """An option's prompt as text, how many tokens stand before its span, the span, and its sums."""

    prompt: str
    num_context_tokens: int
    tokens: tuple[ScoredToken, ...]
    sums: Scored
    truncated: bool


@dataclass(frozen=True, slots=True)
class ItemView:
    """An item with all of its options, which of them is right, which the model chose, and whether it is right."""

    num_items: int
    options: tuple[OptionView, ...]
    gold: int | None
    prediction: int | None
    correct: bool


def inspect_item(lm: LanguageModel, run: CoreRun, index: int) -> ItemView:
    """Return the item at a place of a run's only task, scored plainly, token by token.

    Raises InputError for a place that there is not.
    """
    (task,) = run.tasks
    stage = TaskStage(lm, task, run.load(task), run.protocol, run.limit)
    if not 0 <= index < len(stage.items):
        raise InputError(f"--index: expected 0 to {len(stage.items) - 1} in {task.name}, got {index}")
    item, shots = stage.items[index], stage.shots[index]
    requests = stage.requests([index])
    prompts = run.protocol.render(task.kind, item, shots, task.delimiter)[-len(requests) :]
    engine = Engine(lm.model, modes=frozenset())
    with evaluation_mode(lm.model):
        options = tuple(_view(lm, engine, prompt, request) for prompt, request in zip(prompts, requests, strict=True))
    prediction, correct = decide(task.kind, [option.sums for option in options], item.gold)
    gold = None if task.kind == "language_modeling" else item.gold
    return ItemView(len(stage.items), options, gold, prediction, correct)


def _view(lm: LanguageModel, engine: Engine, prompt: str, request: Request) -> OptionView:
    ids_T = request.ids.astype(np.int64)
    places_T = np.arange(1, len(ids_T))
    keep_1xT = ((places_T >= request.start) & (places_T < request.end))[None]
    nats_N, greedy_N = engine.forward.losses(ids_T[None, :-1], ids_T[None, 1:], keep_1xT)
    tokens = tuple(
        ScoredToken(int(number), str(lm.tokenizer.decode([int(number)])), float(nats))
        for number, nats in zip(ids_T[request.start : request.end], nats_N, strict=True)
    )
    sums = Scored(float(nats_N.sum()), len(tokens), request.num_bytes, request.num_characters, bool(greedy_N.all()))
    if request.truncated:
        # What is left of it, as far as ids can say.
        prompt = str(lm.tokenizer.decode(request.ids.tolist()))
    return OptionView(prompt, request.start, tokens, sums, request.truncated)
