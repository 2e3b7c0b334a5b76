"""Forwards of a causal language model: whole rows, trees of rows under a mask, or rows on a cached prefix."""

import copy
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from hf_core_bpb.errors import NonFiniteError
from hf_core_bpb.models.inspect import accepts, device_of, dtype_of
from hf_core_bpb.scoring.head import Head, HeadedModel
from hf_core_bpb.scoring.layout import Block, Reads, lay_out
from hf_core_bpb.scoring.masks import tree_mask
from hf_core_bpb.scoring.plan import Job
from hf_core_bpb.scoring.trie import Trie
from hf_core_bpb.types import Request, Scored

Array = np.ndarray[Any, Any]


class Forward:
    """Runs jobs on a model whose head runs in one way."""

    def __init__(self, model: torch.nn.Module, head: Head) -> None:
        """Take a causal language model as it is, on its device."""
        self.headed = HeadedModel(model, head)
        self.device = device_of(model)
        self.takes_positions = accepts(model, "position_ids")
        self.cache_name = "past_key_values" if accepts(model, "past_key_values") else "cache_params"
        config: Any = getattr(model, "config", None)
        self.config: Any = config.get_text_config() if config is not None else None
        self.dtype = dtype_of(model)

    def run(self, job: Job, trie: Trie, requests: Sequence[Request]) -> dict[int, Scored]:
        """Return the sums of all requests in a job, by their number; in evaluation mode."""
        layout = lay_out(job, trie, requests)
        nats_N = np.full(layout.num_places, np.nan)
        greedy_N = np.zeros(layout.num_places, dtype=bool)
        cache: Any = None
        if layout.prefixes is not None:
            cache = self._run_block(layout.prefixes, self._inputs_of_prefixes(layout.prefixes), nats_N, greedy_N)
            if cache is None:
                raise TypeError("the model returned no cache")
        for number, block in enumerate(layout.steps):
            inputs: dict[str, Any] = {"use_cache": False}
            if cache is not None:
                is_last = number == len(layout.steps) - 1
                own = cache if is_last else copy.deepcopy(cache)
                if not np.array_equal(block.prefix_B, np.arange(len(job.prefixes))):
                    own.reorder_cache(torch.from_numpy(block.prefix_B).to(self.device))
                inputs = {self.cache_name: own, "use_cache": True}
            self._run_block(block, inputs | self._inputs_of_step(block, job.depth), nats_N, greedy_N)
        sums = {}
        for number, (begin, end) in layout.places.items():
            request = requests[number]
            sums[number] = Scored(
                total_nats=float(nats_N[begin:end].sum()),
                num_tokens=request.end - request.start,
                num_bytes=request.num_bytes,
                greedy=bool(greedy_N[begin:end].all()),
            )
        broken = tuple(sorted(number for number, scored in sums.items() if not np.isfinite(scored.total_nats)))
        if broken:
            raise NonFiniteError("", broken, len(sums))
        return sums

    def losses(
        self, ids_BxT: Array, targets_BxT: Array, keep_BxT: Array, **inputs: torch.Tensor
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
        """Return the kept targets' nats (N,) in float64, and whether each is the argmax (N,); in evaluation mode.

        Row by row, in the order of the positions. Further inputs go to the model as they are.
        """
        ids, keep = self._tensor(ids_BxT), self._tensor(keep_BxT)
        pieces, _ = self.headed(ids, keep, use_cache=False, **inputs)
        return read_losses(pieces, np.arange(int(keep_BxT.sum())), targets_BxT[keep_BxT])

    def _run_block(self, block: Block, inputs: dict[str, Any], nats_N: Array, greedy_N: Array) -> Any:
        """Fill in the block's losses and return the cache that the model made."""
        keep_BxT = np.zeros(block.ids_BxT.shape, dtype=bool)
        rows, columns, targets, places = _joined(block.reads)
        keep_BxT[rows, columns] = True
        pieces, cache = self.headed(self._tensor(block.ids_BxT), self._tensor(keep_BxT), **inputs)
        kept_BxT = np.cumsum(keep_BxT).reshape(keep_BxT.shape) - 1
        kept_M = kept_BxT[rows, columns]
        order = np.argsort(kept_M, kind="stable")
        if len(order):
            nats_N[places[order]], greedy_N[places[order]] = read_losses(pieces, kept_M[order], targets[order])
        return cache

    def _inputs_of_prefixes(self, block: Block) -> dict[str, Any]:
        inputs: dict[str, Any] = {"use_cache": True, **self._positions(block)}
        if block.padding_B.any():
            columns_T = np.arange(block.ids_BxT.shape[1])
            inputs["attention_mask"] = self._tensor((columns_T >= block.padding_B[:, None]).astype(np.int64))
        return inputs

    def _inputs_of_step(self, block: Block, depth: int) -> dict[str, Any]:
        if block.sees_BxTxT is None and depth == 0:
            return {}
        columns_P = np.arange(depth)
        holds_BxP = columns_P >= block.padding_B[:, None]
        if block.sees_BxTxT is None:
            mask_BxK = np.concatenate([holds_BxP, np.ones_like(block.ids_BxT, dtype=bool)], axis=1)
            return {"attention_mask": self._tensor(mask_BxK.astype(np.int64)), **self._positions(block)}
        num_columns = block.ids_BxT.shape[1]
        sees_BxTxK = np.concatenate([np.repeat(holds_BxP[:, None], num_columns, axis=1), block.sees_BxTxT], axis=2)
        keys_BxK = np.concatenate([columns_P - block.padding_B[:, None], block.positions_BxT], axis=1)
        mask = tree_mask(
            self.config,
            self._tensor(sees_BxTxK),
            self._tensor(block.positions_BxT),
            self._tensor(keys_BxK),
            self.dtype,
        )
        return {"attention_mask": mask, **self._positions(block)}

    def _positions(self, block: Block) -> dict[str, torch.Tensor]:
        return {"position_ids": self._tensor(block.positions_BxT)} if self.takes_positions else {}

    def _tensor(self, array: Array) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.device)


def _joined(reads: Reads) -> tuple[Array, Array, Array, Array]:
    parts = (reads.rows, reads.columns, reads.targets, reads.places)
    rows, columns, targets, places = (np.concatenate([np.zeros(0, dtype=np.int64), *arrays]) for arrays in parts)
    return rows, columns, targets, places


def read_losses(
    pieces: Iterable[torch.Tensor], rows_M: Array, targets_M: Array
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Return float64 nats of targets at rising rows of logits, and whether each is its row's argmax.

    The argmax is that of the logits as the model gave them; nats are taken in float32. The pieces are used up.
    """
    nats, greedy = [], []
    done = 0
    for logits_NxV in pieces:
        begin, end = np.searchsorted(rows_M, [done, done + len(logits_NxV)])
        rows = torch.from_numpy(rows_M[begin:end] - done).to(logits_NxV.device)
        targets = torch.from_numpy(np.asarray(targets_M[begin:end], dtype=np.int64)).to(logits_NxV.device)
        top_N, argmax_N = logits_NxV.max(dim=-1)
        # Less the largest first, as log_softmax does: a logsumexp of large logits would lose digits. In place.
        values_NxV = logits_NxV.float().sub_(top_N[:, None].float())
        own_M = values_NxV[rows, targets]
        nats_M = values_NxV.exp_().sum(dim=-1).log()[rows] - own_M
        # To the CPU first: not every accelerator has float64.
        nats.append(nats_M.cpu().double().numpy())
        greedy.append((argmax_N[rows] == targets).cpu().numpy())
        done += len(logits_NxV)
    return np.concatenate(nats), np.concatenate(greedy)
