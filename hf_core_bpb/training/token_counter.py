"""Tokens that a model is trained on, counted where they pass: at the model's own forward."""

from typing import Any

import torch

IGNORED = -100


class TokenCounter:
    """Counts what goes through a model in training, on this process.

    targets: labels that are not ignored, less the first of each row, which nothing predicts; inputs: tokens
    that are not padding, by the attention mask; forwarded: with padding; length_sum: forwarded tokens, each
    times the length of its row, of which attention's FLOPs follow. Evaluations and generation are not
    counted, nor is what gradient checkpointing computes anew.
    """

    def __init__(self) -> None:
        """Start at nothing."""
        # By device: replicas of nn.DataParallel count at the same time, each on its own.
        self.totals: dict[torch.device, torch.Tensor] = {}
        self.hook: Any = None
        # Of the batch at hand, where Trainer keeps them from the model: label smoothing, a loss function of one's own.
        self.labels: Any = None

    def attach(self, model: torch.nn.Module) -> None:
        """Count from now on what the model is called with."""
        self.detach()
        self.hook = model.register_forward_pre_hook(self._on_forward, with_kwargs=True)

    def detach(self) -> None:
        """Count no more."""
        if self.hook is not None:
            self.hook.remove()
            self.hook = None
        self.labels = None

    def take(self) -> list[int]:
        """Return targets, inputs, forwarded tokens and length_sum since the last call, and start anew."""
        parts = [totals.tolist() for totals in self.totals.values()]
        self.totals = {}
        return [int(sum(column)) for column in zip([0, 0, 0, 0], *parts, strict=True)]

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def _on_forward(self, module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not (module.training and torch.is_grad_enabled()):
            return
        ids = kwargs.get("input_ids", args[0] if args else None)
        embeddings = kwargs.get("inputs_embeds")
        first = ids if ids is not None else embeddings
        if first is None:
            return
        rows, length = first.shape[:2]
        mask = kwargs.get("attention_mask")
        # A mask by position of 2 dimensions says what is padding; masks of 4 say who sees whom.
        inputs = (
            mask.bool().sum() if isinstance(mask, torch.Tensor) and mask.ndim == 2 else _number(first, rows * length)
        )
        labels, shifted = kwargs.get("labels"), kwargs.get("shift_labels")
        if labels is None:
            labels = self._kept_labels(rows, length)
        if shifted is not None:
            targets = (shifted != IGNORED).sum()
        elif labels is not None:
            targets = (labels[..., 1:] != IGNORED).sum()
        elif (positions := kwargs.get("position_ids")) is not None:
            # Packed: every text begins at position 0; one row of positions can stand for all.
            targets = inputs - (positions == 0).expand(rows, -1).sum()
        else:
            targets = inputs - rows
        forwarded = _number(first, rows * length)
        counted = torch.stack([targets, inputs, forwarded, forwarded * length]).to(torch.int64)
        # Kept on the device: to read it here would make every step wait.
        before = self.totals.get(counted.device)
        self.totals[counted.device] = counted if before is None else before + counted

    def _kept_labels(self, rows: int, length: int) -> Any:
        """Return the labels of the batch at hand, unless this is a replica's part of it."""
        fits = isinstance(self.labels, torch.Tensor) and self.labels.shape == (rows, length)
        return self.labels if fits else None


def _number(like: torch.Tensor, value: int) -> torch.Tensor:
    return torch.tensor(value, device=like.device)
