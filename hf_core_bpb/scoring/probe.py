"""What a model does right: every shortcut is held against plain forwards of the model at hand before it is taken."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from hf_core_bpb.errors import InputError, RunError, reason
from hf_core_bpb.models.evaluation_mode import evaluation_mode
from hf_core_bpb.models.inspect import accepts, device_of, dtype_of, num_known_ids, positions_of
from hf_core_bpb.scoring.float64 import can_widen, in_float64
from hf_core_bpb.scoring.forward import Forward
from hf_core_bpb.scoring.head import Head
from hf_core_bpb.scoring.plan import Costs, Mode, plan_jobs
from hf_core_bpb.scoring.trie import build_trie
from hf_core_bpb.types import Request, Scored

# Deviations are shares of what a wrong context does to losses: means over requests of nats per token.
# In float64 right paths have been measured up to 3e-12, wrong ones from 1e-4 (weights of an untrained model) and 3e-2.
_STRUCTURE = 1e-8
# In the dtype of the run, what rounding may do beside a multiple of what it does among the model's plain forwards.
_ROUNDING, _ROUNDING_IN_HALF_PRECISION = 2e-3, 0.05
_NOISE = 10.0
# Without float64, wrong paths have to be told from right ones in the dtype of the run.
_STRICT, _STRICT_IN_HALF_PRECISION = 5e-5, 0.02

# What a forward costs in tokens in the plan of few, much padded forwards.
_FEWEST_FORWARDS = 50.0
_SHORTEST = 48
_BEYOND = 16
_SEED = 1106


def check_causal(model: torch.nn.Module) -> None:
    """Raise InputError for a model whose logits change with what comes after them, such as an encoder.

    Such a model sees the token that it is asked to predict, and would be given numbers far too good.
    """
    length = min(4, positions_of(model) or 4)
    ids_BxT = (torch.tensor([[0, 1, 2, 1], [0, 1, 2, 0]], device=device_of(model)) % _num_ids(model))[:, -length:]
    try:
        with evaluation_mode(model):
            logits_BxTxV = model(input_ids=ids_BxT, use_cache=False).logits[:, :-1].float()
    except Exception as error:  # what a model's own code, its kernels and its device raise has no common class
        raise RunError(
            f"model: expected a forward of {ids_BxT.numel()} tokens by {type(model).__name__}, "
            f"got {type(error).__name__}: {reason(error)}"
        ) from error
    moved = (logits_BxTxV[0] - logits_BxTxV[1]).abs().mean()
    # Rounding in half precision moves them by a few thousandths of their spread; non-finite ones are named later.
    if torch.isfinite(moved) and moved > 0.01 * logits_BxTxV[0].std():
        raise InputError(
            f"model: expected a causal language model, got {type(model).__name__}, which looks at later tokens"
        )


def choose_head(model: torch.nn.Module, replay: bool = True) -> Head:
    """Return the leanest way to run the model's head that gives the losses of its plain forward.

    replay: whether parts of the model may be called by themselves.
    """
    long, short = 9, 5
    ids = np.random.default_rng(_SEED).integers(0, _num_ids(model), long + short).astype(np.int32)
    requests = [Request(ids[:long], 2, 9, 1), Request(ids[long:], 1, 3, 1), Request(ids[long:], 4, 5, 1)]
    if (positions_of(model) or long) < long:
        requests = [Request(ids[:2], 1, 2, 1)]
    probe = Probe(model, requests)
    leanest: list[tuple[Head, bool]] = [("replayed", replay), ("masked", accepts(model, "logits_to_keep"))]
    for head, possible in leanest:
        if possible and probe.failure(head, "full") is None:
            return head
    return "full"


@dataclass(frozen=True, slots=True)
class Deviation:
    """How far a path's losses are from plain forwards', and the allowance, as shares of what a wrong context does.

    nats: the largest difference of a request's mean loss.
    """

    share: float
    allowed: float
    nats: float


class Probe:
    """Requests with their losses by plain forwards: one row a forward in the run's dtype, padded rows in float64.

    A path must have the model's structure, which float64 shows as rounding cannot reach there, and must round no worse
    than a multiple of what plain forwards of other shapes do among themselves.
    """

    def __init__(self, model: torch.nn.Module, requests: Sequence[Request]) -> None:
        """Score the requests plainly, in batches of other shapes and without their context, for comparison."""
        self.model = model
        self.requests = requests
        self.longest = max(request.end - 1 for request in requests)
        self.cannot_try: str | None = None
        try:
            self.plain_N = self._score("full", "full", batch_tokens=1)
            padded = [self._score("full", "full", n * self.longest, _FEWEST_FORWARDS) for n in (4, 16)]
            self.requests = [_without_context(request, _num_ids(model)) for request in requests]
            without_N = self._score("full", "full", batch_tokens=1)
        except Exception as error:  # whatever a model raises, or losses that are not finite: nothing to compare with
            self.cannot_try = f"it cannot be tried: {reason(error)}"
            return
        finally:
            self.requests = requests
        self.context_matters = float(np.abs(without_N - self.plain_N).mean())
        self.noise = max(float(np.abs(padded_N - self.plain_N).mean()) for padded_N in padded)
        self.exact_N = self._score_exactly()

    def _score_exactly(self) -> npt.NDArray[np.float64] | None:
        """Return the plain losses in float64, None where the model cannot be run so."""
        if not can_widen(self.model):
            return None
        try:
            with in_float64(self.model):
                return self._score("full", "full", per_forward=_FEWEST_FORWARDS)
        except Exception:  # a kernel that has no float64: the run's dtype has to do
            return None

    def failure(self, head: Head, mode: Mode) -> str | None:
        """Return why a head and a mode cannot be used on this model, None where they can."""
        if self.cannot_try is not None:
            return self.cannot_try
        try:
            deviations = self.deviations(head, mode)
        except Exception as error:  # whatever a model raises at what it does not support
            return f"{type(error).__name__}: {reason(error)}"
        if mode != "full" and self.context_matters == 0.0:
            return "it cannot be tried: the model's losses do not depend on their context"
        for deviation in deviations:
            if not deviation.share <= deviation.allowed:
                return (
                    f"its losses are off by up to {deviation.nats:.2g} nats a token, "
                    f"{deviation.share:.2g} of what a wrong context does to them"
                )
        return None

    def deviations(self, head: Head, mode: Mode) -> list[Deviation]:
        """Return a path's deviation in float64, where the model can be run so, and that in the dtype of the run."""
        is_half = dtype_of(self.model).itemsize < 4
        found = []
        if self.exact_N is not None:
            with in_float64(self.model):
                # The plan of fewest forwards alone: it has all kinds of padding, and weights are widened anew in each.
                found.append(self._deviation(head, mode, self.exact_N, _STRUCTURE, (_FEWEST_FORWARDS,)))
            allowed = (_ROUNDING_IN_HALF_PRECISION if is_half else _ROUNDING) + _NOISE * self._share(self.noise)
        else:
            allowed = _STRICT_IN_HALF_PRECISION if is_half else _STRICT
        return [*found, self._deviation(head, mode, self.plain_N, allowed, (0.0, _FEWEST_FORWARDS))]

    def _deviation(
        self, head: Head, mode: Mode, expected_N: npt.NDArray[np.float64], allowed: float, costs: Sequence[float]
    ) -> Deviation:
        off_PxN = np.abs([self._score(head, mode, per_forward=cost) - expected_N for cost in costs])
        return Deviation(self._share(float(off_PxN.mean(axis=1).max())), allowed, float(off_PxN.max()))

    def _share(self, nats: float) -> float:
        return nats / self.context_matters if self.context_matters > 0 else nats

    def _score(
        self, head: Head, mode: Mode, batch_tokens: int | None = None, per_forward: float = 0.0
    ) -> npt.NDArray[np.float64]:
        """Return each request's mean nats, all that can be forwarded in a mode being forwarded in it."""
        trie = build_trie(self.requests)
        costs = Costs(pair=0.0, forward=per_forward, copy=0.0)
        jobs = plan_jobs(trie, batch_tokens or 4 * self.longest, costs, frozenset({mode}), positions_of(self.model))
        if all(job.mode != mode for job in jobs):
            raise InputError("the context is too short to try it")
        forward = Forward(self.model, head)
        scored: dict[int, Scored] = {}
        with evaluation_mode(self.model):
            for job in jobs:
                scored |= forward.run(job, trie, self.requests)
        return np.array([scored[number].mean_nats for number in range(len(self.requests))])


def _without_context(request: Request, num_ids: int) -> Request:
    """Return a request with other ids in front of the one before its span."""
    ids = request.ids.copy()
    before = request.start - 1
    ids[:before] = (7 * ids[:before] + 3) % num_ids
    return Request(ids, request.start, request.end, request.num_bytes)


def probe_length(model: torch.nn.Module, longest: int) -> int:
    """Return how many tokens must be tried so that requests of at most `longest` hold no surprise.

    More than any window or chunk of the model's that such a request exceeds.
    """
    config: Any = getattr(model, "config", None)
    limits = [limit for limit in _limits(config.to_dict()) if limit < longest] if config is not None else []
    length = max([_SHORTEST, *(limit + _BEYOND for limit in limits)])
    positions = positions_of(model)
    return length if positions is None else min(length, positions)


def _limits(config: Mapping[str, Any]) -> Iterator[int]:
    """Yield what a configuration says of windows and chunks."""
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from _limits(value)
        elif isinstance(value, int) and any(word in name for word in ("window", "chunk")):
            yield value


def random_requests(model: torch.nn.Module, length: int) -> list[Request]:
    """Return requests of at most `length` forwarded tokens that share prefixes in all the ways that are planned.

    Ragged prefixes with ragged branches, branches that branch again, one-token choices, a span that begins
    before the branching.
    """
    rng = np.random.default_rng(_SEED)

    def draw(count: int) -> list[int]:
        return [int(i) for i in rng.integers(0, _num_ids(model), count)]

    made: list[Request] = []

    def add(prefix: list[int], branch: list[int], start: int | None = None) -> None:
        ids = np.array(prefix + branch, dtype=np.int32)
        made.append(Request(ids, start if start is not None else len(prefix), len(ids), 1))

    longest = max(length - 11, 2)
    one, two, three = draw(longest), draw(max(longest // 2 + 9, 2)), draw(max(longest - 5, 2))
    fork = draw(2)
    add(one, draw(1))
    add(one, fork + draw(3))
    add(one, fork + draw(6))
    add(one, draw(9), start=longest - 1)
    add(two, draw(2))
    add(two, draw(5))
    add(two, draw(11))
    for branch in (draw(3), draw(4)):
        add(three, branch + draw(1))
        add(three, branch + draw(1))
    return [request for request in made if request.end - 1 <= length]


def _num_ids(model: torch.nn.Module) -> int:
    """Return how many ids may be drawn: those that the model knows, or few where it does not say."""
    return num_known_ids(model) or 3
