"""Counts of the tokens that a model is trained on, taken at the model's own forward pass."""

from collections.abc import Mapping
from typing import Any

import torch

_IGNORED = -100


class TokenCounter:
    """Counts on this process what goes through a model in training.

    Four counts: targets, which are labels that are not ignored, without the first of each row, which nothing predicts;
    inputs, which are tokens that are not padding by the attention mask; forwarded tokens, which include padding; and
    the sum of forwarded tokens, each times the length of its row, which determines attention's FLOPs. Evaluations,
    generation and the recomputation of gradient checkpointing are not counted.
    """

    def __init__(self) -> None:
        """Start at zero."""
        # By device: replicas of nn.DataParallel count at the same time.
        self.totals: dict[torch.device, torch.Tensor] = {}
        self.hook: Any = None
        # Of the current batch: with label smoothing or a custom loss Trainer does not pass them to the model.
        self.labels: Any = None

    def attach(self, model: torch.nn.Module) -> None:
        """Start to count what the model is called with."""
        self.detach()
        self.hook = model.register_forward_pre_hook(self._on_forward, with_kwargs=True)

    def detach(self) -> None:
        """Stop counting."""
        if self.hook is not None:
            self.hook.remove()
            self.hook = None
        self.labels = None

    def take(self) -> list[int]:
        """Return the four counts since the last call, and start at zero."""
        counts = [totals.tolist() for totals in self.totals.values()]
        self.totals = {}
        return [int(sum(column)) for column in zip([0, 0, 0, 0], *counts, strict=True)]

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def _on_forward(self, module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not (module.training and torch.is_grad_enabled()):
            return
        ids = kwargs.get("input_ids", args[0] if args else None)
        first = ids if ids is not None else kwargs.get("inputs_embeds")
        if first is None:
            return
        rows, length = first.shape[:2]
        # Filled on the device: a copy from the host would wait for it, in every step.
        forwarded = torch.full((), rows * length, device=first.device)
        inputs = _count_inputs(kwargs.get("attention_mask"), forwarded)
        targets = self._count_targets(kwargs, rows, length, inputs)
        counts = torch.stack([targets, inputs, forwarded, forwarded * length]).to(torch.int64)
        # Not read here either.
        total = self.totals.get(counts.device)
        self.totals[counts.device] = counts if total is None else total + counts

    def _count_targets(self, kwargs: Mapping[str, Any], rows: int, length: int, inputs: torch.Tensor) -> torch.Tensor:
        shifted, labels = kwargs.get("shift_labels"), kwargs.get("labels")
        if labels is None and isinstance(self.labels, torch.Tensor) and self.labels.shape == (rows, length):
            # The noted labels have another shape if this replica has only a part of the batch.
            labels = self.labels
        count: torch.Tensor
        if shifted is not None:
            count = (shifted != _IGNORED).sum()
        elif labels is not None:
            count = (labels[..., 1:] != _IGNORED).sum()
        elif (positions := kwargs.get("position_ids")) is not None:
            # Packed texts each start at position 0; a single row of positions applies to all rows.
            count = inputs - (positions == 0).expand(rows, -1).sum()
        else:
            count = inputs - rows
        return count


def _count_inputs(mask: Any, forwarded: torch.Tensor) -> torch.Tensor:
    """Return the tokens that are not padding, which only a mask of 2 dimensions (rows, positions) marks."""
    return mask.bool().sum() if isinstance(mask, torch.Tensor) and mask.ndim == 2 else forwarded
