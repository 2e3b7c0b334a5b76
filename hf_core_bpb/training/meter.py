"""The amount of training so far: tokens of all processes, seconds, and the FLOPs computed from them."""

import dataclasses
import time
from collections.abc import Mapping
from typing import Any

import torch

from hf_core_bpb.distributed import process_group, sum_over_processes
from hf_core_bpb.models.inspect import processes_per_copy
from hf_core_bpb.scaling.flops import peak_flops, six_n_d, training_flops_per_token
from hf_core_bpb.scaling.laws import Convention, FixedRatio, Law
from hf_core_bpb.scaling.parameters import count_parameters
from hf_core_bpb.training.token_counter import TokenCounter

# A token's FLOPs are linear in the length of its row, because of attention: two lengths determine the line.
_FLOP_LENGTHS = (64, 128)
_COUNTS = ("target_tokens", "input_tokens", "forward_tokens", "length_sum")


class Meter:
    """Counts from `begin` to `end` of a training, and computes ratios and FLOPs from the counts.

    convention: what N counts in the ratio. rule: gives the compute-optimal tokens. device_flops: peak FLOPs per second
    of one device, None for the peak known by its name.
    """

    def __init__(self, convention: Convention, rule: Law | FixedRatio, device_flops: float | None) -> None:
        """Start at zero."""
        self.convention: Convention = convention
        self.rule = rule
        self.device_flops = device_flops
        self.counter = TokenCounter()
        self.reset()

    def reset(self) -> None:
        """Set all counts to zero."""
        self.counts = dict.fromkeys(_COUNTS, 0)
        self.train_seconds = 0.0
        self._clock_start: float | None = None

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint saves."""
        return {"counts": dict(self.counts), "train_seconds": self.train_seconds}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Continue from what a checkpoint saved."""
        self.counts |= saved.get("counts", {})
        self.train_seconds = saved.get("train_seconds", 0.0)

    def begin(self, model: torch.nn.Module, num_devices: int) -> None:
        """Start to count what the model is trained on; num_devices: of this process (several with DataParallel)."""
        self.model = model
        self.num_devices = num_devices
        self.parameters = count_parameters(model)
        self.flops_per_token = _flops_by_length(model)
        self.counter.attach(model)

    def end(self) -> None:
        """Stop counting."""
        self.counter.detach()

    @property
    def is_counting(self) -> bool:
        """Whether a training has begun and not ended."""
        return self.counter.hook is not None

    def note_labels(self, inputs: Any) -> None:
        """Note the labels of the next batch, which the Trainer may not pass to the model."""
        self.counter.labels = inputs.get("labels") if isinstance(inputs, Mapping) else None

    def start_clock(self) -> None:
        """Start the time of a step, which includes waiting for its data."""
        self._clock_start = time.perf_counter()

    def stop_clock(self) -> None:
        """Add the time of a step, if the clock was started."""
        if self._clock_start is not None:
            self.train_seconds += time.perf_counter() - self._clock_start
            self._clock_start = None

    def count(self) -> None:
        """Add what all processes have counted since the last call; all of them must call."""
        # Processes that share one copy of the model have all counted the same batch.
        copies = processes_per_copy(self.model)
        for name, value in zip(_COUNTS, sum_over_processes(self.counter.take()), strict=True):
            self.counts[name] += value // copies

    @property
    def ratio(self) -> float:
        """Target tokens per parameter, with N by the convention."""
        return self.counts["target_tokens"] / float(getattr(self.parameters, self.convention))

    @property
    def flops(self) -> float | None:
        """The FLOPs of training so far, None if they cannot be counted for the model."""
        if self.flops_per_token is None:
            return None
        constant, by_length = self.flops_per_token
        return constant * self.counts["forward_tokens"] + by_length * self.counts["length_sum"]

    def sizes(self) -> dict[str, float]:
        """Return the parameters by every convention under their log keys."""
        return {f"scale/parameters_{name}": n for name, n in dataclasses.asdict(self.parameters).items()}

    def scale(self, epochs: float | None) -> dict[str, float]:
        """Return the counts, and the ratios and FLOPs computed from them, under their log keys.

        epochs: passes over the training data, None if the data has no length.
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
            # Within the first epoch all tokens are unique.
            logs["scale/unique_tokens"] = tokens / max(1.0, epochs)
        if self.flops is not None:
            logs["scale/flops"] = self.flops
            peak = self.device_flops if self.device_flops is not None else peak_flops(process_group().device)
            if peak is not None and self.train_seconds > 0:
                num_devices = self.num_devices * process_group().num_processes
                logs["scale/mfu"] = self.flops / (self.train_seconds * peak * num_devices)
        return logs


def _flops_by_length(model: torch.nn.Module) -> tuple[float, float] | None:
    """Return a training token's FLOPs as a constant part and a part per token of its row, None if not countable."""
    short, long = _FLOP_LENGTHS
    at_short, at_long = (training_flops_per_token(model, length) for length in _FLOP_LENGTHS)
    if at_short is None or at_long is None:
        return None
    by_length = (at_long - at_short) / (long - short)
    return at_short - by_length * short, by_length
