"""Bits per byte of batches of token ids: the evaluation of published training loops, exact in its bytes.

Rows whose targets are their shifted inputs become requests, and go the way of texts. What does not fit a request goes
through the model as it comes: targets that are not the next inputs, attention masks and position ids of the caller,
and all batches of a sharded model, which every process must call equally often.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch

from hf_core_bpb.distributed import Gathering, alone, gather_parts
from hf_core_bpb.errors import InputError, RunError
from hf_core_bpb.models.evaluation_mode import evaluation_mode
from hf_core_bpb.models.inspect import check_largest_id, device_of, positions_of
from hf_core_bpb.scoring.scorer import Scorer
from hf_core_bpb.scoring.workload import build_workload
from hf_core_bpb.tokenization.token_bytes import TokenBytes
from hf_core_bpb.tokenization.token_rows import Ids64, Marks, is_shift, mark_text, row_requests
from hf_core_bpb.types import Request, Scored

Batch = Mapping[str, torch.Tensor] | Sequence[torch.Tensor]
Table = TokenBytes | Sequence[int] | torch.Tensor

# Inputs of a causal language model that a batch may bring beside ids and labels.
_FURTHER_INPUTS = ("attention_mask", "position_ids")
# Tokens of the rows that are scored together, so that an endless source takes no more memory than this.
_TOKENS_PER_WORKLOAD = 2**16


@dataclass(frozen=True, slots=True)
class _Rows:
    """Inputs x, targets y, the marks of the targets that are text, and further inputs of the model."""

    x_BxT: Ids64
    y_BxT: Ids64
    marks_BxT: Marks
    inputs: Mapping[str, torch.Tensor]

    @property
    def is_plain(self) -> bool:
        """Whether each row can be written as requests."""
        rows = zip(self.x_BxT, self.y_BxT, self.marks_BxT, strict=True)
        return set(self.inputs) <= {"attention_mask"} and self._is_right_padded and all(is_shift(*row) for row in rows)

    @property
    def _is_right_padded(self) -> bool:
        """Whether the attention mask only hides what comes after the last scored target, as causality does."""
        if "attention_mask" not in self.inputs:
            return True
        mask = self.inputs["attention_mask"]
        if mask.shape != self.x_BxT.shape:
            return False
        is_hidden_BxT = mask.cpu().numpy() == 0
        after_BxT = np.logical_or.accumulate(is_hidden_BxT, axis=1)
        return not (self.marks_BxT & after_BxT).any()

    def split(self, num_rows: int) -> Iterator["_Rows"]:
        """Yield parts of at most so many rows."""
        for begin in range(0, len(self.x_BxT), num_rows):
            part = slice(begin, begin + num_rows)
            inputs = {name: tensor[part] for name, tensor in self.inputs.items()}
            yield _Rows(self.x_BxT[part], self.y_BxT[part], self.marks_BxT[part], inputs)


def evaluate_bpb(
    model: torch.nn.Module, batches: Iterable[Batch], token_bytes: Table, *, steps: int | None = None
) -> float:
    """Return total nats / (ln 2 x total bytes) over the targets of batches that are text.

    batches: {"input_ids", "labels"} (B, T), with labels at the positions of their ids and shifted here, or pairs (x, y)
    (B, T) with y the id after each x. Negative targets and special tokens are left out of both sums; so is the space
    that a tokenizer puts in front of a text. token_bytes: a tokenizer's token_bytes(), or the bytes of each id, 0 for
    special ones. steps: the number of batches, all if None. Under several processes each brings batches of its own, any
    number of them, and all get the same value.
    Raises InputError if no target is text, and for ids outside the table; RunError if losses are not finite.
    """
    table = _as_table(token_bytes)
    scorer = Scorer(model)
    selected = islice(batches, steps)
    if scorer.engine.in_lockstep:
        sums = _sum_in_lockstep(scorer, selected, table)
        parts = gather_parts(lambda: sums)
    else:
        gathering: Gathering[Scored] = Gathering()
        with gathering, alone():
            gathering.part = _sum_batches(scorer, selected, table)
        parts = gathering.parts
    total = sum(parts, Scored())
    if total.num_bytes == 0:
        raise InputError("batches: expected one or more targets that are text, got none")
    if not math.isfinite(total.total_nats):
        raise RunError(f"the model's logits are not finite: got a loss of {total.total_nats}")
    return total.bits_per_byte


def _sum_batches(scorer: Scorer, batches: Iterable[Batch], table: TokenBytes) -> Scored:
    """Return the sums of this process's batches."""
    total = Scored()
    requests: list[Request] = []
    num_tokens = 0
    for number, batch in enumerate(batches):
        rows = _read_rows(batch, scorer.model, table, f"batches[{number}]")
        if not rows.is_plain:
            total += _sum_directly(scorer, rows, table)
            continue
        for row in zip(rows.x_BxT, rows.y_BxT, rows.marks_BxT, strict=True):
            requests += row_requests(*row, table)
        num_tokens += rows.x_BxT.size
        if num_tokens >= _TOKENS_PER_WORKLOAD:
            total += _sum_requests(scorer, requests)
            requests, num_tokens = [], 0
    return total + _sum_requests(scorer, requests)


def _sum_requests(scorer: Scorer, requests: list[Request]) -> Scored:
    if not requests:
        return Scored()
    scored = scorer.score(build_workload({"batches": lambda: requests}))
    return sum(scored.sums["batches"], Scored())


def _sum_directly(scorer: Scorer, rows: _Rows, table: TokenBytes) -> Scored:
    """Return the sums of rows that the model is called with as they are, a budget of tokens at a time."""
    total = Scored()
    with evaluation_mode(scorer.model):
        length = max(rows.x_BxT.shape[1], 1)
        for part in rows.split(max(1, scorer.budget(length) // length)):
            total += _forward(scorer, part, table)
    return total


def _sum_in_lockstep(scorer: Scorer, batches: Iterable[Batch], table: TokenBytes) -> Scored:
    """Return the sums of this process's batches, calling the model as often as every other process does."""
    total = Scored()
    budget = scorer.budget(positions_of(scorer.model) or 0)
    remaining = enumerate(batches)
    while True:
        gathering: Gathering[int] = Gathering()
        parts: list[_Rows] = []
        with gathering:
            for number, batch in islice(remaining, 1):
                rows = _read_rows(batch, scorer.model, table, f"batches[{number}]")
                parts = list(rows.split(max(1, budget // max(rows.x_BxT.shape[1], 1))))
            gathering.part = len(parts)
        if max(gathering.parts) == 0:
            return total
        with evaluation_mode(scorer.model):
            for index in range(max(gathering.parts)):
                if index < len(parts) and parts[index].marks_BxT.any():
                    total += _forward(scorer, parts[index], table)
                else:
                    scorer.engine.run_dummy_forwards(1)


def _forward(scorer: Scorer, rows: _Rows, table: TokenBytes) -> Scored:
    if not rows.marks_BxT.any():
        return Scored()
    nats_N, greedy_N = scorer.engine.forward.losses(rows.x_BxT, rows.y_BxT, rows.marks_BxT, **rows.inputs)
    num_bytes_N = table.of_targets(rows.x_BxT[rows.marks_BxT], rows.y_BxT[rows.marks_BxT])
    return Scored(float(nats_N.sum()), len(nats_N), int(num_bytes_N.sum()), greedy=bool(greedy_N.all()))


def _as_table(token_bytes: Table) -> TokenBytes:
    if isinstance(token_bytes, TokenBytes):
        return token_bytes
    num_bytes_V = torch.as_tensor(token_bytes).cpu().numpy().astype(np.int32)
    if num_bytes_V.ndim != 1:
        raise InputError(f"token_bytes: expected bytes by token id (V,), got shape {num_bytes_V.shape}")
    return TokenBytes(num_bytes_V, num_bytes_V == 0, np.zeros(len(num_bytes_V), dtype=np.bool_), 0, ())


def _read_rows(batch: Batch, model: torch.nn.Module, table: TokenBytes, where: str) -> _Rows:
    inputs: dict[str, torch.Tensor] = {}
    if isinstance(batch, Mapping):
        if "input_ids" not in batch or "labels" not in batch:
            raise InputError(f"{where}: expected input_ids and labels, got {', '.join(batch)}")
        ids, labels = _array(batch["input_ids"]), _array(batch["labels"])
        _check_shapes(ids, labels, where)
        x, y = ids[:, :-1], labels[:, 1:]
        further = {name: torch.as_tensor(batch[name]) for name in _FURTHER_INPUTS if name in batch}
        inputs = {name: tensor[:, :-1].to(device_of(model)) for name, tensor in further.items()}
    else:
        if len(batch) != 2:
            raise InputError(f"{where}: expected a pair (x, y) or input_ids and labels, got {len(batch)} values")
        x, y = (_array(tensor) for tensor in batch)
        _check_shapes(x, y, where)
    positions = positions_of(model)
    if positions is not None and x.shape[1] > positions:
        raise InputError(f"{where}: expected at most the model's {positions} positions, got {x.shape[1]}")
    marks = mark_text(x, y, table, where)
    check_largest_id(int(max(x.max(initial=0), y[marks].max(initial=0))), model)
    return _Rows(x, y, marks, inputs)


def _array(tensor: Any) -> Ids64:
    return torch.as_tensor(tensor).cpu().numpy().astype(np.int64)


def _check_shapes(ids: Ids64, targets: Ids64, where: str) -> None:
    if ids.ndim != 2 or ids.shape != targets.shape:
        raise InputError(f"{where}: expected ids and targets of one shape (B, T), got {ids.shape} and {targets.shape}")
