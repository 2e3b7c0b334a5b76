"""What a model has been trained on so far: tokens by all processes, seconds, and the FLOPs that follow from them."""

import dataclasses
import time
from typing import Any

import torch

from hf_core_bpb.distributed import process_group, sum_over_processes
from hf_core_bpb.models.inspect import processes_per_copy
from hf_core_bpb.scaling.flops import peak_flops, six_n_d, training_flops_per_token
from hf_core_bpb.scaling.laws import Convention, FixedRatio, Law
from hf_core_bpb.scaling.parameters import count_parameters
from hf_core_bpb.training.token_counter import TokenCounter

# Rows of two lengths give the constant and the linear part of a token's FLOPs, attention being the latter.
_FLOP_LENGTHS = (64, 128)
_COUNTS = ("target_tokens", "input_tokens", "forward_tokens", "length_sum")


class Meter:
    """Counts from `begin` to `end` of a training, and says what the counts amount to.

    convention: what N counts in the ratio; rule: what the compute-optimal point is taken from; device_flops:
    the peak of one device in FLOPs a second, where it is not known by name.
    """

    def __init__(self, convention: Convention, rule: Law | FixedRatio, device_flops: float | None) -> None:
        """Start at nothing."""
        self.convention: Convention = convention
        self.rule = rule
        self.device_flops = device_flops
        self.counter = TokenCounter()
        self.reset()

    def reset(self) -> None:
        """Forget what was counted."""
        self.counts = dict.fromkeys(_COUNTS, 0)
        self.train_seconds = 0.0
        self._began: float | None = None

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {"counts": dict(self.counts), "train_seconds": self.train_seconds}

    def restore(self, kept: dict[str, Any]) -> None:
        """Go on from what a checkpoint kept."""
        self.counts |= kept.get("counts", {})
        self.train_seconds = kept.get("train_seconds", 0.0)

    def begin(self, model: torch.nn.Module) -> None:
        """Count from now on what the model is trained on."""
        self.model = model
        self.parameters = count_parameters(model)
        self.flops_a_token = _flops_by_length(model)
        self.counter.attach(model)

    def end(self) -> None:
        """Count no more."""
        self.counter.detach()

    @property
    def is_counting(self) -> bool:
        """Whether a training has begun and not ended."""
        return self.counter.hook is not None

    def start_clock(self) -> None:
        """Begin the time of a step, waiting for its data included."""
        self._began = time.perf_counter()

    def stop_clock(self) -> None:
        """End the time of a step, if one has begun."""
        if self._began is not None:
            self.train_seconds += time.perf_counter() - self._began
            self._began = None

    def count(self) -> None:
        """Add what all processes have counted since the last time; all of them must call."""
        # Processes that hold one copy of the model together have all seen the same batch.
        copies = processes_per_copy(self.model)
        for name, value in zip(_COUNTS, sum_over_processes(self.counter.take()), strict=True):
            self.counts[name] += value // copies

    @property
    def ratio(self) -> float:
        """Target tokens per parameter, N by the convention asked for."""
        return self.counts["target_tokens"] / float(getattr(self.parameters, self.convention))

    @property
    def flops(self) -> float | None:
        """The operations of training so far, None where they cannot be counted for the model."""
        if self.flops_a_token is None:
            return None
        constant, by_length = self.flops_a_token
        return constant * self.counts["forward_tokens"] + by_length * self.counts["length_sum"]

    def sizes(self) -> dict[str, float]:
        """Return the parameters by every convention under the names they are logged by."""
        return {f"scale/parameters_{name}": n for name, n in dataclasses.asdict(self.parameters).items()}

    def scale(self, epochs: float | None) -> dict[str, float]:
        """Return the counts and what follows from them under the names they are logged by.

        epochs: how often the training data has been passed, None where they have no end.
        """
        tokens, parameters = self.counts["target_tokens"], self.parameters
        logs: dict[str, float] = {
            "scale/target_tokens": tokens,
            "scale/input_tokens": self.counts["input_tokens"],
            "scale/tokens_per_parameter_total": tokens / parameters.total,
            "scale/tokens_per_parameter_matmul": tokens / parameters.matmul,
            f"scale/tokens_per_parameter_{self.convention}": self.ratio,
            "scale/share_of_optimal": tokens / self.rule.optimal_tokens(getattr(parameters, self.rule.convention)),
            "scale/flops_6nd": six_n_d(parameters.matmul, tokens),
        }
        if epochs is not None:
            # Before the first epoch is over, all tokens are unique.
            logs["scale/unique_tokens"] = tokens / max(1.0, epochs)
        if self.flops is not None:
            logs["scale/flops"] = self.flops
            peak = self.device_flops if self.device_flops is not None else peak_flops(process_group().device)
            if peak is not None and self.train_seconds > 0:
                logs["scale/mfu"] = self.flops / (self.train_seconds * peak * process_group().num_processes)
        return logs


def _flops_by_length(model: torch.nn.Module) -> tuple[float, float] | None:
    """Return the constant part of a training token's FLOPs, and what each token of its row adds."""
    short, long = _FLOP_LENGTHS
    at_short, at_long = (training_flops_per_token(model, length) for length in _FLOP_LENGTHS)
    if at_short is None or at_long is None:
        return None
    by_length = (at_long - at_short) / (long - short)
    return at_short - by_length * short, by_length
