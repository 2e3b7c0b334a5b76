"""Bits per byte of batches that are already tokens: the published training-loop evaluation, done exactly."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from hf_core_bpb.distributed import gather_parts
from hf_core_bpb.errors import InputError, RunError
from hf_core_bpb.models.evaluation_mode import evaluation_mode
from hf_core_bpb.models.inspect import check_known, positions_of
from hf_core_bpb.scoring.engine import Engine
from hf_core_bpb.tokenization.token_bytes import TokenBytes

Batch = Mapping[str, torch.Tensor] | Sequence[torch.Tensor]
Table = TokenBytes | Sequence[int] | torch.Tensor

# What a batch may hold beside ids and labels that a causal language model wants to know.
_FURTHER_INPUTS = ("attention_mask", "position_ids")


@dataclass(frozen=True, slots=True)
class _Rows:
    """Inputs and the targets one position on, with what else goes to the model, cut to the same positions."""

    ids_BxT: npt.NDArray[np.int64]
    targets_BxT: npt.NDArray[np.int64]
    inputs: dict[str, torch.Tensor]


def evaluate_bpb(
    model: torch.nn.Module, batches: Iterable[Batch], token_bytes: Table, *, steps: int | None = None
) -> float:
    """Return total nats / (ln 2 x total bytes) over the targets of batches that stand for text.

    batches: {"input_ids", "labels"} (B, T), labels in place and shifted here, or pairs (x, y) (B, T) with y
    the id after each x. Targets below 0 and special tokens are left out of both sums; so is the space that a
    tokenizer puts in front of a text. token_bytes: a tokenizer's token_bytes(), or the bytes of each id, 0
    for special ones. steps: how many batches to take, all where None. Under several processes each brings
    its own batches, any number of them, and all get the same value.
    Raises InputError where no target stands for text, and for ids that the table does not know.
    """
    engine = Engine(model)
    table = _as_table(token_bytes)
    some = islice(batches, steps)
    if engine.in_step:
        own = _sum_in_step(engine, some, table)
        parts = gather_parts(lambda: own)
    else:
        parts = gather_parts(partial(_sum_batches, engine, some, table))
    nats, num_bytes = sum(part[0] for part in parts), sum(part[1] for part in parts)
    if num_bytes == 0:
        raise InputError("batches: expected one or more targets that stand for text, got none")
    if not math.isfinite(nats):
        raise RunError(f"model: expected finite logits, got a loss of {nats}")
    return nats / (math.log(2) * num_bytes)


def _sum_batches(engine: Engine, batches: Iterable[Batch], table: TokenBytes) -> tuple[float, int]:
    """Return this process's nats and bytes."""
    total_nats, total_bytes = 0.0, 0
    with evaluation_mode(engine.model):
        for number, batch in enumerate(batches):
            nats, num_bytes = _sum_rows(engine, *_prepare(engine, batch, table, number), table)
            total_nats, total_bytes = total_nats + nats, total_bytes + num_bytes
    return total_nats, total_bytes


def _sum_in_step(engine: Engine, batches: Iterable[Batch], table: TokenBytes) -> tuple[float, int]:
    """Return this process's nats and bytes, calling the model as often as every other process does."""
    total_nats, total_bytes = 0.0, 0
    numbered = enumerate(batches)
    while True:
        held: list[tuple[_Rows, npt.NDArray[np.bool_]]] = []
        if not any(gather_parts(partial(_take, engine, numbered, table, held))):
            return total_nats, total_bytes
        with evaluation_mode(engine.model):
            if held and held[0][1].any():
                nats, num_bytes = _sum_rows(engine, *held[0], table)
                total_nats, total_bytes = total_nats + nats, total_bytes + num_bytes
            else:
                engine.idle(1)


def _take(
    engine: Engine,
    numbered: Iterator[tuple[int, Batch]],
    table: TokenBytes,
    held: list[tuple[_Rows, npt.NDArray[np.bool_]]],
) -> bool:
    """Hold the next batch, and say whether there is one."""
    for number, batch in numbered:
        held.append(_prepare(engine, batch, table, number))
        return True
    return False


def _prepare(engine: Engine, batch: Batch, table: TokenBytes, number: int) -> tuple[_Rows, npt.NDArray[np.bool_]]:
    where = f"batches, number {number}"
    rows = _read(batch, where, engine.device)
    _check_length(engine.model, rows, where)
    keep_BxT = _stands_for_text(rows, table, where)
    check_known(int(max(rows.ids_BxT.max(initial=0), rows.targets_BxT[keep_BxT].max(initial=0))), engine.model)
    return rows, keep_BxT


def _sum_rows(engine: Engine, rows: _Rows, keep_BxT: npt.NDArray[np.bool_], table: TokenBytes) -> tuple[float, int]:
    if not keep_BxT.any():
        return 0.0, 0
    nats_N, _ = engine.forward.losses(rows.ids_BxT, rows.targets_BxT, keep_BxT, **rows.inputs)
    return float(nats_N.sum()), int(table.of_targets(rows.ids_BxT[keep_BxT], rows.targets_BxT[keep_BxT]).sum())


def _as_table(token_bytes: Table) -> TokenBytes:
    if isinstance(token_bytes, TokenBytes):
        return token_bytes
    num_bytes_V = torch.as_tensor(token_bytes).cpu().numpy().astype(np.int32)
    if num_bytes_V.ndim != 1:
        raise InputError(f"token_bytes: expected bytes by token id (V,), got shape {num_bytes_V.shape}")
    return TokenBytes(num_bytes_V, num_bytes_V == 0, np.zeros(len(num_bytes_V), dtype=np.bool_), 0, ())


def _read(batch: Batch, where: str, device: torch.device) -> _Rows:
    if isinstance(batch, Mapping):
        missing = [key for key in ("input_ids", "labels") if key not in batch]
        if missing:
            raise InputError(f"{where}: expected input_ids and labels, got {', '.join(batch)}")
        ids, labels = _array(batch["input_ids"]), _array(batch["labels"])
        _check_shapes(ids, labels, where)
        further = {key: torch.as_tensor(batch[key]) for key in _FURTHER_INPUTS if key in batch}
        inputs = {key: tensor[:, :-1].to(device) for key, tensor in further.items()}
        return _Rows(ids[:, :-1], labels[:, 1:], inputs)
    if len(batch) != 2:
        raise InputError(f"{where}: expected a pair (x, y) or input_ids and labels, got {len(batch)} values")
    x, y = (_array(tensor) for tensor in batch)
    _check_shapes(x, y, where)
    return _Rows(x, y, {})


def _array(tensor: Any) -> npt.NDArray[np.int64]:
    return torch.as_tensor(tensor).cpu().numpy().astype(np.int64)


def _check_shapes(ids: npt.NDArray[np.int64], targets: npt.NDArray[np.int64], where: str) -> None:
    if ids.ndim != 2 or ids.shape != targets.shape:
        raise InputError(f"{where}: expected ids and targets of one shape (B, T), got {ids.shape} and {targets.shape}")


def _check_length(model: torch.nn.Module, rows: _Rows, where: str) -> None:
    positions = positions_of(model)
    if positions is not None and rows.ids_BxT.shape[1] > positions:
        raise InputError(f"{where}: expected at most the model's {positions} positions, got {rows.ids_BxT.shape[1]}")


def _stands_for_text(rows: _Rows, table: TokenBytes, where: str) -> npt.NDArray[np.bool_]:
    targets_BxT = rows.targets_BxT
    if rows.ids_BxT.min(initial=0) < 0:
        raise InputError(f"{where}: expected ids of 0 or more, got {rows.ids_BxT.min()}")
    largest = max(rows.ids_BxT.max(initial=0), targets_BxT.max(initial=0))
    if largest >= len(table):
        raise InputError(f"{where}: expected ids below {len(table)}, got {largest}")
    return (targets_BxT >= 0) & ~table.is_special_V[np.maximum(targets_BxT, 0)]
