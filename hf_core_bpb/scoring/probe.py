"""Verify fast paths on a model: their losses must agree with those of plain forwards."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from hf_core_bpb.errors import InputError, RunError, reason
from hf_core_bpb.models.evaluation_mode import evaluation_mode
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
# In the dtype of the run: this, and a multiple of the rounding error among the model's plain forwards.
_MAX_ROUNDING, _MAX_ROUNDING_HALF_PRECISION = 2e-3, 0.05
_ROUNDING_FACTOR = 10.0
# If float64 is not available, the dtype of the run alone must separate incorrect paths from correct ones.
_MAX_ERROR_WITHOUT_FLOAT64, _MAX_ERROR_WITHOUT_FLOAT64_HALF_PRECISION = 5e-5, 0.02

# The cost of a forward, in tokens, that makes the planner choose few forwards with much padding.
_FEW_FORWARDS_COST = 50.0
_MIN_LENGTH = 48
_TOKENS_BEYOND_LIMIT = 16
_SEED = 1106


def check_causal(model: torch.nn.Module) -> None:
    """Raise InputError for a model whose logits depend on later tokens, such as an encoder.

    Such a model sees the token that it predicts, so its losses would be far too low.
    """
    length = min(4, positions_of(model) or 4)
    ids_BxT = (torch.tensor([[0, 1, 2, 1], [0, 1, 2, 0]], device=device_of(model)) % _num_ids(model))[:, -length:]
    try:
        with evaluation_mode(model):
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
    long, short = 9, 5
    ids = np.random.default_rng(_SEED).integers(0, _num_ids(model), long + short).astype(np.int32)
    requests = [Request(ids[:long], 2, 9, 1), Request(ids[long:], 1, 3, 1), Request(ids[long:], 4, 5, 1)]
    if (positions_of(model) or long) < long:
        requests = [Request(ids[:2], 1, 2, 1)]
    probe = Probe(model, requests)
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
    """Requests and their losses by plain forwards, the reference for heads and modes.

    The reference is one row per forward in the dtype of the run, and padded rows in float64 if available. A path passes
    if it computes the same function, which shows in float64 without rounding, and if its rounding error is at most a
    multiple of that among plain forwards of other shapes.
    """

    def __init__(self, model: torch.nn.Module, requests: Sequence[Request]) -> None:
        """Score the requests by plain forwards: row by row, in padded batches, and with a wrong context."""
        self.model = model
        self.requests = requests
        self.longest = max(request.end - 1 for request in requests)
        self.unusable: str | None = None
        try:
            self.plain_N = self._score("full", "full", batch_tokens=1)
            padded = [self._score("full", "full", n * self.longest, _FEW_FORWARDS_COST) for n in (4, 16)]
            self.requests = [_with_wrong_context(request, _num_ids(model)) for request in requests]
            wrong_context_N = self._score("full", "full", batch_tokens=1)
        except Exception as error:  # any error of the model, or non-finite losses: there is no reference
            _check_device(error)
            self.unusable = f"it cannot be verified: {reason(error)}"
            return
        finally:
            self.requests = requests
        self.context_effect = float(np.abs(wrong_context_N - self.plain_N).mean())
        self.rounding = max(float(np.abs(padded_N - self.plain_N).mean()) for padded_N in padded)
        self.exact_N = self._score_exactly()

    def _score_exactly(self) -> npt.NDArray[np.float64] | None:
        """Return the plain losses in float64, None if the model cannot run in float64."""
        if not can_widen(self.model):
            return None
        try:
            with in_float64(self.model):
                return self._score("full", "full", per_forward=_FEW_FORWARDS_COST)
        except Exception as error:  # such as a kernel without float64
            _check_device(error)
            return None

    def failure(self, head: Head, mode: Mode) -> str | None:
        """Return why a head and a mode cannot be used on this model, None if they can."""
        if self.unusable is not None:
            return self.unusable
        try:
            errors = self.errors(head, mode)
        except Exception as error:  # models raise any error for inputs that they do not support
            _check_device(error)
            return f"{type(error).__name__}: {reason(error)}"
        if mode != "full" and self.context_effect == 0.0:
            return "it cannot be verified: the model's losses do not depend on their context"
        for path_error in errors:
            if not path_error.relative <= path_error.allowed:
                return (
                    f"it failed the accuracy check (relative error {path_error.relative:.2g}, "
                    f"up to {path_error.max_nats:.2g} nats per token)"
                )
        return None

    def errors(self, head: Head, mode: Mode) -> list[PathError]:
        """Return the error of a path in float64, if the model can run in it, and in the dtype of the run."""
        is_half = compute_dtype_of(self.model).itemsize < 4
        errors = []
        if self.exact_N is not None:
            with in_float64(self.model):
                # The plan of few forwards is enough: it has all kinds of padding, and each forward widens all weights.
                errors.append(self._error(head, mode, self.exact_N, _MAX_ERROR_FLOAT64, (_FEW_FORWARDS_COST,)))
            allowed = _MAX_ROUNDING_HALF_PRECISION if is_half else _MAX_ROUNDING
            allowed += _ROUNDING_FACTOR * self._relative(self.rounding)
        else:
            allowed = _MAX_ERROR_WITHOUT_FLOAT64_HALF_PRECISION if is_half else _MAX_ERROR_WITHOUT_FLOAT64
        return [*errors, self._error(head, mode, self.plain_N, allowed, (0.0, _FEW_FORWARDS_COST))]

    def _error(
        self, head: Head, mode: Mode, expected_N: npt.NDArray[np.float64], allowed: float, costs: Sequence[float]
    ) -> PathError:
        """Return the largest error over plans with different costs of a forward."""
        errors_PxN = np.abs([self._score(head, mode, per_forward=cost) - expected_N for cost in costs])
        return PathError(self._relative(float(errors_PxN.mean(axis=1).max())), allowed, float(errors_PxN.max()))

    def _relative(self, nats: float) -> float:
        return nats / self.context_effect if self.context_effect > 0 else nats

    def _score(
        self, head: Head, mode: Mode, batch_tokens: int | None = None, per_forward: float = 0.0
    ) -> npt.NDArray[np.float64]:
        """Return each request's mean nats (N,), forwarded in a mode wherever it can be."""
        trie = build_trie(self.requests)
        costs = Costs(pair=0.0, forward=per_forward, copy=0.0)
        jobs = plan_jobs(trie, batch_tokens or 4 * self.longest, costs, frozenset({mode}), positions_of(self.model))
        if all(job.mode != mode for job in jobs):
            raise InputError("the model's context is too short to verify it")
        forward = Forward(self.model, head)
        scored: dict[int, Scored] = {}
        with evaluation_mode(self.model):
            for job in jobs:
                scored |= forward.run(job, trie, self.requests)
        return np.array([scored[index].mean_nats for index in range(len(self.requests))])


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
        requests.append(Request(ids, start if start is not None else len(prefix), len(ids), 1))

    longest = max(length - 11, 2)
    first, second, third = draw(longest), draw(max(longest // 2 + 9, 2)), draw(max(longest - 5, 2))
    fork = draw(2)
    add(first, draw(1))
    add(first, fork + draw(3))
    add(first, fork + draw(6))
    add(first, draw(9), start=longest - 1)
    add(second, draw(2))
    add(second, draw(5))
    add(second, draw(11))
    for branch in (draw(3), draw(4)):
        add(third, branch + draw(1))
        add(third, branch + draw(1))
    return [request for request in requests if request.end - 1 <= length]


def _num_ids(model: torch.nn.Module) -> int:
    """Return the number of ids with an embedding, 3 if the model does not declare it."""
    return num_known_ids(model) or 3
