"""A causal language model as it is scored: weights, tokenizer, context length, and what they are called."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from hf_core_bpb.errors import InputError
from hf_core_bpb.models.inspect import describe_quantization, dtype_of, positions_of
from hf_core_bpb.tokenization.encode import Tokenizer

# For models without positions, such as Mamba: long enough for every prompt of the suites at ten shots.
UNBOUNDED_MAX_LENGTH = 2048


@dataclass(frozen=True, slots=True)
class LanguageModel:
    """A model with its tokenizer; `max_length` is how many tokens a forward may hold.

    loading: what of the way it was loaded its numbers depend on, by name.
    """

    model: torch.nn.Module
    tokenizer: Tokenizer
    max_length: int
    name: str
    revision: str
    tokenizer_name: str
    loading: Mapping[str, str] = field(default_factory=dict)

    @property
    def dtype(self) -> str:
        """The dtype of the weights, as torch names it without its prefix."""
        return str(dtype_of(self.model)).removeprefix("torch.")

    @property
    def depends_on_batches(self) -> bool:
        """Whether a token's logits depend on what is forwarded with it, as those of bitsandbytes' 8 bit do."""
        return self.loading.get("quantization") in ("8bit", "bitsandbytes-8bit")


def choose_max_length(model: torch.nn.Module, asked: int | None) -> int:
    """Return the context length: the model's positions, or fewer where asked for.

    Raises InputError for more than the model has, or fewer than two.
    """
    positions = positions_of(model)
    if positions is not None and positions < 2:
        raise InputError(f"model: expected 2 or more positions, got {positions}")
    if asked is None:
        return UNBOUNDED_MAX_LENGTH if positions is None else positions
    if not isinstance(asked, int) or asked < 2:
        raise InputError(f"--max-length: expected 2 or more tokens, got {asked}")
    if positions is not None and asked > positions:
        raise InputError(f"--max-length: expected at most the model's {positions} positions, got {asked}")
    return asked


def wrap(
    model: torch.nn.Module,
    tokenizer: Tokenizer,
    max_length: int | None = None,
    name: str | None = None,
    revision: str = "unknown",
    tokenizer_name: str | None = None,
    loading: Mapping[str, str] | None = None,
) -> LanguageModel:
    """Return a model and tokenizer in memory as a LanguageModel. Raises InputError for a model without a config.

    A model whose weights are quantised has that in `loading`, as its config says it.
    """
    config: Any = getattr(model, "config", None)
    if config is None:
        raise InputError(f"model: expected one of transformers, with a config, got {type(model).__name__}")
    quantization = describe_quantization(getattr(config, "quantization_config", None))
    known_as = name if name is not None else str(getattr(config, "name_or_path", "") or type(model).__name__)
    return LanguageModel(
        model=model,
        tokenizer=tokenizer,
        max_length=choose_max_length(model, max_length),
        name=known_as,
        revision=revision,
        tokenizer_name=tokenizer_name if tokenizer_name is not None else known_as,
        loading={**({"quantization": quantization} if quantization is not None else {}), **(loading or {})},
    )
