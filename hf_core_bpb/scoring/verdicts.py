"""What was found about a model, kept as long as the model, so that later evaluations do not check it again."""

from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import torch

from hf_core_bpb.models.inspect import attention_of, compute_dtype_of, device_of, dtype_of
from hf_core_bpb.scoring.float64 import can_widen
from hf_core_bpb.scoring.head import Head
from hf_core_bpb.scoring.jobs import Mode
from hf_core_bpb.scoring.probe import UNVERIFIABLE, Probe, check_causal, choose_head, random_requests

Weights = tuple[int, int]


@dataclass(slots=True)
class Verdicts:
    """The verdicts on one model in one setting; None is the failure of a path that passed.

    structure: by head, mode and probe length; it does not depend on the weights. rounding: also by the weights.
    """

    is_causal: bool = False
    head: Head | None = None
    structure: dict[tuple[Head, Mode, int], str | None] = field(default_factory=dict)
    rounding: dict[tuple[Head, Mode, int, Weights], str | None] = field(default_factory=dict)

    def check_causal(self, model: torch.nn.Module) -> None:
        """Raise InputError for a model whose logits depend on later tokens."""
        if not self.is_causal:
            check_causal(model)
            self.is_causal = True

    def choose_head(self, model: torch.nn.Module, replay: bool) -> Head:
        """Return the cheapest strategy for the head; replay: whether the base model may be called separately."""
        if self.head is not None:
            return self.head
        head = choose_head(model, replay)
        # Another strategy may fail because of the weights alone, such as weights of NaN.
        self.head = head if head != "full" else None
        return head

    def failures(self, model: torch.nn.Module, head: Head, modes: list[Mode], length: int) -> dict[Mode, str | None]:
        """Return why each mode cannot be used for requests of up to `length` tokens, None for modes that can."""
        probe = Probe(model, random_requests(model, length), head)
        weights = _weights(model)
        failures: dict[Mode, str | None] = {}
        for mode in modes:
            if (head, mode, length) in self.structure:
                failure = self.structure[head, mode, length]
            else:
                failure = probe.structure_failure(head, mode)
                if not _has_zero_matrix(model) if failure is None else not failure.startswith(UNVERIFIABLE):
                    self.structure[head, mode, length] = failure
            if failure is None:
                failure = self._rounding_failure(probe, head, mode, length, weights)
            failures[mode] = failure
        return failures

    def _rounding_failure(
        self, probe: Probe, head: Head, mode: Mode, length: int, weights: Weights | None
    ) -> str | None:
        if weights is None:
            return probe.rounding_failure(head, mode)
        key = (head, mode, length, weights)
        if key not in self.rounding:
            failure = probe.rounding_failure(head, mode)
            if failure is not None and failure.startswith(UNVERIFIABLE):
                return failure
            # Weights do not return to an earlier version.
            self.rounding = {earlier: value for earlier, value in self.rounding.items() if earlier[-1] == weights}
            self.rounding[key] = failure
        return self.rounding[key]


_VERDICTS: WeakKeyDictionary[torch.nn.Module, dict[Any, Verdicts]] = WeakKeyDictionary()


def verdicts_of(model: torch.nn.Module, replay: bool) -> Verdicts:
    """Return the verdicts on a model with its current dtype, autocast, attention, device, modules and adapters."""
    adapters = [
        (name, tuple(module.active_adapters), tuple(module.merged_adapters), module.disable_adapters)
        for name, module in model.named_modules()
        if hasattr(module, "merged_adapters")
    ]
    setting = (
        replay,
        dtype_of(model),
        compute_dtype_of(model),
        attention_of(model),
        device_of(model),
        tuple(map(type, model.modules())),
        repr(adapters),
    )
    return _VERDICTS.setdefault(model, {}).setdefault(setting, Verdicts())


def _has_zero_matrix(model: torch.nn.Module) -> bool:
    """Return whether some matrix is zero, as at the start of some trainings: what it multiplies is not verified yet."""
    return can_widen(model) and any(p.ndim >= 2 and not bool(p.any()) for p in model.parameters())


def _weights(model: torch.nn.Module) -> Weights | None:
    """Return a value that changes with the weights, None if their changes are not counted."""
    parameters = list(model.parameters())
    if any(parameter.is_inference() for parameter in parameters):
        return None
    return sum(parameter._version for parameter in parameters), parameters[0].data_ptr() if parameters else 0
