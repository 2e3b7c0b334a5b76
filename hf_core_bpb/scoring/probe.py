"""Verify fast paths on a model: their losses must agree with those of plain forwards."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from hf_core_bpb.errors import InputError, RunError, reason
from hf_core_bpb.models.evaluation_mode import evaluation_mode
from hf_core_bpb.models.first_layers import first_layers
from hf_core_bpb.models.inspect import accepts, compute_dtype_of, device_of, num_known_ids, positions_of
from hf_core_bpb.scoring.device_errors import is_device_lost
from hf_core_bpb.scoring.float64 import can_widen, in_float64
from hf_core_bpb.scoring.forward import Forward
from hf_core_bpb.scoring.head import Head
from hf_core_bpb.scoring.jobs import Costs, Mode
from hf_core_bpb.scoring.plan import plan_jobs
from hf_core_bpb.scoring.trie import build_trie
from hf_core_bpb.types import Request, Scored

# Errors are relative to the effect of a wrong context on the mean loss per token, averaged over requests.
# In float64, correct paths measured at most 3e-12; incorrect ones at least 1e-4 untrained and 3e-2 trained.
_MAX_ERROR_FLOAT64 = 1e-8
# In the dtype of the run: this, and a multiple of the rounding error of plain forwards.
_MAX_ROUNDING, _MAX_ROUNDING_HALF_PRECISION = 2e-3, 0.05
_ROUNDING_FACTOR = 10.0
# If float64 is not available, the dtype of the run alone must separate incorrect paths from correct ones.
_MAX_ERROR_WITHOUT_FLOAT64, _MAX_ERROR_WITHOUT_FLOAT64_HALF_PRECISION = 5e-5, 0.02

# The cost of a forward, in tokens, that makes the planner choose few forwards with much padding.
_FEW_FORWARDS_COST = 50.0
_MIN_LENGTH = 28
_TOKENS_BEYOND_LIMIT = 16
# The indices of the few requests, among those of `random_requests`: each mode has a prefix of them to share.
_FEW = (0, 1, 3, 6, 7)
# How a failure begins that says nothing about the fast path, such as on a head of zeros before the first step.
UNVERIFIABLE = "it cannot be verified"
_SEED = 1106


def check_causal(model: torch.nn.Module) -> None:
    """Raise InputError for a model whose logits depend on later tokens, such as an encoder.

    Such a model sees the token that it predicts, so its losses would be far too low.
    """
    length = min(4, positions_of(model) or 4)
    ids_BxT = (torch.tensor([[0, 1, 2, 1], [0, 1, 2, 0]], device=device_of(model)) % _num_ids(model))[:, -length:]
    try:
        with evaluation_mode(model), first_layers(model):
            logits_BxTxV = model(input_ids=ids_BxT, use_cache=False).logits[:, :-1].float()
    except Exception as error:  # the errors of models, kernels and devices have no common class
        raise RunError(
            f"`model`: a forward pass of {type(model).__name__} with {ids_BxT.numel()} tokens failed: "
            f"{type(error).__name__}: {reason(error)}"
        ) from error
    change = (logits_BxTxV[0] - logits_BxTxV[1]).abs().mean()
    # Rounding in half precision changes logits by a few thousandths of their spread; NaN is reported when scoring.
    if torch.isfinite(change) and change > 0.01 * logits_BxTxV[0].std():
        raise InputError(
            f"`model`: expected a causal language model, got {type(model).__name__}, which looks at later tokens"
        )


def choose_head(model: torch.nn.Module, replay: bool = True) -> Head:
    """Return the cheapest strategy for the model's head that gives the losses of its plain forward.

    replay: whether the base model may be called separately.
    """
    long, short = 5, 4
    ids = np.random.default_rng(_SEED).integers(0, _num_ids(model), long + short).astype(np.int32)
    requests = [Request(ids[:long], 2, 5, 1), Request(ids[long:], 1, 2, 1), Request(ids[long:], 3, 4, 1)]
    if (positions_of(model) or long) < long:
        requests = [Request(ids[:2], 1, 2, 1)]
    probe = Probe(model, requests, "full")
    candidates: list[tuple[Head, bool]] = [("replayed", replay), ("masked", accepts(model, "logits_to_keep"))]
    for head, is_possible in candidates:
        if is_possible and probe.failure(head, "full") is None:
            return head
    return "full"


@dataclass(frozen=True, slots=True)
class PathError:
    """The error of a path against plain forwards, and the maximum allowed, relative to the effect of a wrong context.

    max_nats: the largest difference of a request's mean loss, in nats per token.
    """

    relative: float
    allowed: float
    max_nats: float


class Probe:
    """Requests by which heads and modes are compared with plain forwards.

    structure: whether a path computes the same function, which float64 shows without rounding; on the first layers, as
    the others repeat them. rounding: whether its error in the dtype of the run is at most a multiple of that of plain
    forwards; on a few requests. A model that cannot run in float64 is compared in its dtype, with all layers.
    """

    def __init__(self, model: torch.nn.Module, requests: Sequence[Request], head: Head) -> None:
        """Take the model, and the head of its plain forwards; nothing is forwarded until an error is asked for."""
        self.model = model
        self.requests = requests
        self.head = head
        self.few_indices = [i for i in _FEW if i < len(requests)]
        self.few = [requests[i] for i in self.few_indices]
        self.longest = max(request.end - 1 for request in requests)
        self.has_float64 = can_widen(model)

    @contextmanager
    def _exactly(self) -> Iterator[None]:
        """Compute in float64 on the first layers if the model can."""
        if not self.has_float64:
            yield
            return
        with in_float64(self.model), first_layers(self.model):
            yield

    @cached_property
    def _reference(self) -> tuple[npt.NDArray[np.float64], float]:
        """The exact losses of the few requests, and the effect of a wrong context on them."""
        wrong = [_with_wrong_context(request, _num_ids(self.model)) for request in self.few]
        try:
            with self._exactly():
                losses_N = self._score(self.few, self.head, "full", batch_tokens=1)
                wrong_N = self._score(wrong, self.head, "full", batch_tokens=1)
        except Exception as error:  # such as a kernel without float64
            _check_device(error)
            if not self.has_float64:
                raise
            self.has_float64 = False
            return self._reference
        return losses_N, float(np.abs(wrong_N - losses_N).mean())

    @cached_property
    def context_effect(self) -> float:
        """The effect of a wrong context on the mean loss per token, in nats."""
        return self._reference[1]

    @cached_property
    def _expected(self) -> npt.NDArray[np.float64]:
        expected_N = np.empty(len(self.requests))
        expected_N[self.few_indices] = self._reference[0]
        others = [i for i in range(len(self.requests)) if i not in self.few_indices]
        if others:
            with self._exactly():
                expected_N[others] = self._score([self.requests[i] for i in others], self.head, "full", batch_tokens=1)
        return expected_N

    @cached_property
    def _rounding(self) -> float:
        """The rounding error of plain forwards, in nats."""
        exact_N, _ = self._reference
        with first_layers(self.model):
            padded_N = self._score(self.few, self.head, "full", per_forward=_FEW_FORWARDS_COST)
        return float(np.abs(padded_N - exact_N).mean())

    def structure_failure(self, head: Head, mode: Mode) -> str | None:
        """Return why a head and a mode do not compute the model's function, None if they do."""
        return self._failure(mode, lambda: self.structure_error(head, mode))

    def rounding_failure(self, head: Head, mode: Mode) -> str | None:
        """Return why a head and a mode are too inexact in the dtype of the run, None if they are exact enough."""
        return self._failure(mode, lambda: self.rounding_error(head, mode) if self.has_float64 else None)

    def failure(self, head: Head, mode: Mode) -> str | None:
        """Return why a head and a mode cannot be used on this model, None if they can."""
        return self.structure_failure(head, mode) or self.rounding_failure(head, mode)

    def _failure(self, mode: Mode, measure: Callable[[], "PathError | None"]) -> str | None:
        try:
            effect = self.context_effect
        except Exception as error:  # any error of the model, or non-finite losses: there is no reference
            _check_device(error)
            return f"{UNVERIFIABLE}: {reason(error)}"
        if mode != "full" and effect == 0.0:
            return f"{UNVERIFIABLE}: the model's losses do not depend on their context"
        try:
            measured = measure()
        except Exception as error:  # models raise any error for inputs that they do not support
            _check_device(error)
            return f"{type(error).__name__}: {reason(error)}"
        if measured is None or measured.relative <= measured.allowed:
            return None
        return (
            f"it failed the accuracy check (relative error {measured.relative:.2g}, up to {measured.max_nats:.2g} nats "
            "per token)"
        )

    def structure_error(self, head: Head, mode: Mode) -> PathError:
        """Return the error of a path in float64, in the dtype of the run if the model cannot run in float64."""
        expected_N = self._expected
        allowed, costs = _MAX_ERROR_FLOAT64, [_FEW_FORWARDS_COST]
        if not self.has_float64:
            allowed, costs = _MAX_ERROR_WITHOUT_FLOAT64, [0.0, _FEW_FORWARDS_COST]
            if compute_dtype_of(self.model).itemsize < 4:
                allowed = _MAX_ERROR_WITHOUT_FLOAT64_HALF_PRECISION
        with self._exactly():
            # The plan of few forwards has all kinds of padding.
            losses_PxN = np.array([self._score(self.requests, head, mode, per_forward=cost) for cost in costs])
        return self._error(losses_PxN - expected_N, allowed)

    def rounding_error(self, head: Head, mode: Mode) -> PathError:
        """Return the error of a path in the dtype of the run, on the first layers and a few requests."""
        is_half = compute_dtype_of(self.model).itemsize < 4
        allowed = _MAX_ROUNDING_HALF_PRECISION if is_half else _MAX_ROUNDING
        allowed += _ROUNDING_FACTOR * self._relative(self._rounding)
        with first_layers(self.model):
            losses_N = self._score(self.few, head, mode, per_forward=_FEW_FORWARDS_COST)
        return self._error(losses_N[None] - self._reference[0], allowed)

    def _error(self, errors_PxN: npt.NDArray[np.float64], allowed: float) -> PathError:
        errors_PxN = np.abs(errors_PxN)
        return PathError(self._relative(float(errors_PxN.mean(axis=1).max())), allowed, float(errors_PxN.max()))

    def _relative(self, nats: float) -> float:
        return nats / self.context_effect if self.context_effect > 0 else nats

    def _score(
        self,
        requests: Sequence[Request],
        head: Head,
        mode: Mode,
        batch_tokens: int | None = None,
        per_forward: float = 0.0,
    ) -> npt.NDArray[np.float64]:
        """Return each request's mean nats (N,), forwarded in a mode wherever it can be."""
        trie = build_trie(requests)
        costs = Costs(pair=0.0, forward=per_forward, copy=0.0)
        jobs = plan_jobs(trie, batch_tokens or 4 * self.longest, costs, frozenset({mode}), positions_of(self.model))
        if all(job.mode != mode for job in jobs):
            raise InputError("the model's context is too short to verify it")
        forward = Forward(self.model, head)
        scored: dict[int, Scored] = {}
        with evaluation_mode(self.model):
            for job in jobs:
                scored |= forward.run(job, trie, requests)
        return np.array([scored[index].mean_nats for index in range(len(requests))])


def _check_device(error: Exception) -> None:
    """Raise RunError for a failure after which the device cannot be used, so that nothing else can be tried."""
    if is_device_lost(error):
        raise RunError(
            f"a kernel failed while a fast path was checked, and the device is lost: {reason(error)}; try "
            "`attn_implementation` eager"
        ) from error


def _with_wrong_context(request: Request, num_ids: int) -> Request:
    """Return a request with other ids in its context, except for the last one before its span."""
    ids = request.ids.copy()
    num_changed = request.start - 1
    ids[:num_changed] = (7 * ids[:num_changed] + 3) % num_ids
    return Request(ids, request.start, request.end, request.num_bytes)


def probe_length(model: torch.nn.Module, longest: int) -> int:
    """Return the length of probe requests that verifies a mode for requests of up to `longest` tokens.

    It is longer than every attention window and chunk of the model that such a request exceeds.
    """
    config: Any = getattr(model, "config", None)
    limits = [limit for limit in _limits(config.to_dict()) if limit < longest] if config is not None else []
    length = max([_MIN_LENGTH, *(limit + _TOKENS_BEYOND_LIMIT for limit in limits)])
    positions = positions_of(model)
    return length if positions is None else min(length, positions)


def _limits(config: Mapping[str, Any]) -> Iterator[int]:
    """Yield the sizes of windows and chunks in a configuration."""
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from _limits(value)
        elif isinstance(value, int) and any(word in name for word in ("window", "chunk")):
            yield value


def random_requests(model: torch.nn.Module, length: int) -> list[Request]:
    """Return requests of at most `length` forwarded tokens that share prefixes in all ways that the planner handles.

    Prefixes and branches of different lengths, branches that branch again, options of one token, and a span that begins
    before the branch.
    """
    rng = np.random.default_rng(_SEED)

    def draw(count: int) -> list[int]:
        return [int(i) for i in rng.integers(0, _num_ids(model), count)]

    requests: list[Request] = []

    def add(prefix: list[int], branch: list[int], start: int | None = None) -> None:
        ids = np.array(prefix + branch, dtype=np.int32)
        # Few losses, as the head may cost more than the layers.
        requests.append(Request(ids, start if start is not None else len(ids) - 1, len(ids), 1))

    longest = max(length - 9, 2)
    first, second, third = draw(longest), draw(max(longest // 2 + 9, 2)), draw(max(longest - 3, 2))
    fork = draw(2)
    add(first, draw(1))
    add(first, fork + draw(2), start=longest)
    add(first, fork + draw(6))
    add(first, draw(4), start=longest - 1)
    add(second, draw(2))
    add(second, draw(5))
    for branch in (draw(3), draw(4)):
        add(third, branch + draw(1))
        add(third, branch + draw(1))
    if length > _MIN_LENGTH:
        # Many columns between a token and the last of its path, which a window of columns would hide.
        add(first[: longest // 3], draw(2 * longest // 3))
    return [request for request in requests if request.end - 1 <= length]


def _num_ids(model: torch.nn.Module) -> int:
    """Return the number of ids with an embedding, 3 if the model does not declare it."""
    return num_known_ids(model) or 3
