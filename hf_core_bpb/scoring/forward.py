"""Run the forwards of a job on a causal language model, and sum the losses of each request."""

import copy
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from hf_core_bpb.errors import NonFiniteError
from hf_core_bpb.models.inspect import accepts, compute_dtype_of, device_of
from hf_core_bpb.scoring.head import Head, HeadedModel
from hf_core_bpb.scoring.jobs import Job
from hf_core_bpb.scoring.layout import Block, Layout, lay_out
from hf_core_bpb.scoring.masks import tree_mask
from hf_core_bpb.scoring.trie import Trie
from hf_core_bpb.types import Request, Scored

Array = np.ndarray[Any, Any]


class Forward:
    """Runs jobs on a model with one strategy for its head."""

    def __init__(self, model: torch.nn.Module, head: Head) -> None:
        """Take a causal language model on its device; it is not changed."""
        self.headed = HeadedModel(model, head)
        self.device = device_of(model)
        self.takes_positions = accepts(model, "position_ids")
        self.cache_name = "past_key_values" if accepts(model, "past_key_values") else "cache_params"
        config: Any = getattr(model, "config", None)
        self.config: Any = config.get_text_config() if config is not None else None

    def run(self, job: Job, trie: Trie, requests: Sequence[Request]) -> dict[int, Scored]:
        """Return the sums of all requests in a job, by request index; the model must be in evaluation mode."""
        layout = lay_out(job, trie, requests)
        nats_N = np.full(layout.num_losses, np.nan)
        greedy_N = np.zeros(layout.num_losses, dtype=bool)
        cache: Any = None
        for block in [*([layout.prefixes] if layout.prefixes is not None else []), *layout.steps]:
            inputs = self._inputs(block, layout, job, cache)
            keep_BxT, logit_rows_M, targets_M, indices_M = _select(block)
            chunks, block_cache = self.headed(self._tensor(block.ids_BxT).long(), keep_BxT, **inputs)
            if len(indices_M):
                nats_N[indices_M], greedy_N[indices_M] = read_losses(chunks, logit_rows_M, targets_M)
            if block is layout.prefixes:
                if block_cache is None:
                    raise TypeError("the model returned no cache")
                cache = block_cache
        return _sums(layout, requests, nats_N, greedy_N)

    def losses(
        self, ids_BxT: Array, targets_BxT: Array, keep_BxT: Array, **inputs: torch.Tensor
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
        """Return the nats (N,) of the targets to keep in float64, and whether each is the argmax (N,), row by row.

        The model must be in evaluation mode. Further inputs are passed to it.
        """
        chunks, _ = self.headed(self._tensor(ids_BxT), keep_BxT, use_cache=False, **inputs)
        return read_losses(chunks, np.arange(int(keep_BxT.sum())), targets_BxT[keep_BxT])

    def _inputs(self, block: Block, layout: Layout, job: Job, cache: Any) -> dict[str, Any]:
        if block is layout.prefixes:
            return self._inputs_of_prefixes(block)
        if cache is None:
            return {"use_cache": False} | self._inputs_of_step(block, job.depth)
        step_cache = cache if block is layout.steps[-1] else copy.deepcopy(cache)
        if not np.array_equal(block.prefix_B, np.arange(len(job.prefixes))):
            step_cache.reorder_cache(torch.from_numpy(block.prefix_B).to(self.device))
        return {self.cache_name: step_cache, "use_cache": True} | self._inputs_of_step(block, job.depth)

    def _inputs_of_prefixes(self, block: Block) -> dict[str, Any]:
        inputs: dict[str, Any] = {"use_cache": True, **self._positions(block)}
        if block.padding_B.any():
            columns_T = np.arange(block.ids_BxT.shape[1])
            inputs["attention_mask"] = self._tensor((columns_T >= block.padding_B[:, None]).astype(np.int64))
        return inputs

    def _inputs_of_step(self, block: Block, depth: int) -> dict[str, Any]:
        if block.ends_BxT is None and depth == 0:
            return {}
        columns_P = np.arange(depth)
        is_token_BxP = columns_P >= block.padding_B[:, None]
        if block.ends_BxT is None:
            mask_BxK = np.concatenate([is_token_BxP, np.ones_like(block.ids_BxT, dtype=bool)], axis=1)
            return {"attention_mask": self._tensor(mask_BxK.astype(np.int64)), **self._positions(block)}
        # Every column of the block sees the tokens of its prefix, and none sees the prefix's padding.
        prefix_ends_BxP = np.where(is_token_BxP, depth + block.ids_BxT.shape[1], 0)
        mask = tree_mask(
            self.config,
            self._tensor(np.concatenate([prefix_ends_BxP, depth + block.ends_BxT], axis=1, dtype=np.int32)),
            self._tensor(block.positions_BxT),
            self._tensor(np.concatenate([columns_P - block.padding_B[:, None], block.positions_BxT], axis=1)),
            compute_dtype_of(self.headed.model),
        )
        return {"attention_mask": mask, **self._positions(block)}

    def _positions(self, block: Block) -> dict[str, torch.Tensor]:
        return {"position_ids": self._tensor(block.positions_BxT).long()} if self.takes_positions else {}

    def _tensor(self, array: Array) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.device)


def _select(block: Block) -> tuple[Array, Array, Array, Array]:
    """Return the positions (B, T) whose logits are needed, and the row of logits, target and index of each loss.

    Rows of logits ascend.
    """
    rows, columns, targets, loss_indices = block.reads
    keep_BxT = np.zeros(block.ids_BxT.shape, dtype=bool)
    keep_BxT[rows, columns] = True
    logit_rows_BxT = np.cumsum(keep_BxT).reshape(keep_BxT.shape) - 1
    logit_rows_M = logit_rows_BxT[rows, columns]
    order = np.argsort(logit_rows_M, kind="stable")
    return keep_BxT, logit_rows_M[order], targets[order], loss_indices[order]


def _sums(layout: Layout, requests: Sequence[Request], nats_N: Array, greedy_N: Array) -> dict[int, Scored]:
    """Return the sums of every request by index; raises NonFiniteError for losses of NaN or infinity."""
    sums = {}
    for index, (begin, end) in layout.loss_ranges.items():
        request = requests[index]
        sums[index] = Scored(
            total_nats=float(nats_N[begin:end].sum()),
            num_tokens=request.end - request.start,
            num_bytes=request.num_bytes,
            greedy=bool(greedy_N[begin:end].all()),
        )
    non_finite = tuple(sorted(index for index, scored in sums.items() if not np.isfinite(scored.total_nats)))
    if non_finite:
        raise NonFiniteError("", non_finite, len(sums))
    return sums


def read_losses(
    chunks: Iterable[torch.Tensor], rows_M: Array, targets_M: Array
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Return the nats (M,) of targets at ascending rows of logits in float64, and whether each is its row's argmax.

    The argmax is of the logits in the model's dtype; nats are computed in float32. The chunks are overwritten.
    """
    nats, greedy = [], []
    num_read = 0
    for logits_NxV in chunks:
        begin, end = np.searchsorted(rows_M, [num_read, num_read + len(logits_NxV)])
        rows = torch.from_numpy(rows_M[begin:end] - num_read).to(logits_NxV.device)
        targets = torch.from_numpy(np.asarray(targets_M[begin:end], dtype=np.int64)).to(logits_NxV.device)
        top_N, argmax_N = logits_NxV.max(dim=-1)
        # Subtract the maximum first, as log_softmax does: a logsumexp of large logits would lose digits. In place.
        values_NxV = logits_NxV.float().sub_(top_N[:, None].float())
        target_M = values_NxV[rows, targets]
        nats_M = values_NxV.exp_().sum(dim=-1).log()[rows] - target_M
        # To the CPU first: not every accelerator has float64.
        nats.append(nats_M.cpu().double().numpy())
        greedy.append((argmax_N[rows] == targets).cpu().numpy())
        num_read += len(logits_NxV)
    return np.concatenate(nats), np.concatenate(greedy)
