"""A causal language model with its tokenizer, context length and names."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from hf_core_bpb.errors import InputError
from hf_core_bpb.models.inspect import describe_quantization, dtype_of, positions_of
from hf_core_bpb.tokenization.encode import Tokenizer

# For models without a limit, such as Mamba: long enough for every 10-shot prompt of the suites.
UNBOUNDED_MAX_LENGTH = 2048


@dataclass(frozen=True, slots=True)
class LanguageModel:
    """A model with its tokenizer; `max_length` is the context length in tokens.

    loading: the options of loading that numbers depend on, by their names in signatures.
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
        """The dtype of the weights, such as float32."""
        return str(dtype_of(self.model)).removeprefix("torch.")

    @property
    def depends_on_batches(self) -> bool:
        """Whether logits depend on the other rows of a batch, as with 8-bit bitsandbytes."""
        return self.loading.get("quantization") in ("8bit", "bitsandbytes-8bit")


def choose_max_length(model: torch.nn.Module, requested: int | None) -> int:
    """Return the context length: the model's positions, or fewer on request.

    Raises InputError for more than the model has, or fewer than two.
    """
    positions = positions_of(model)
    if positions is not None and positions < 2:
        raise InputError(f"`model`: expected 2 or more positions, got {positions}")
    if requested is None:
        return UNBOUNDED_MAX_LENGTH if positions is None else positions
    if requested < 2:
        raise InputError(f"`max_length`: expected 2 or more tokens, got {requested}")
    if positions is not None and requested > positions:
        raise InputError(f"`max_length`: expected at most the model's {positions} positions, got {requested}")
    return requested


def wrap(
    model: torch.nn.Module,
    tokenizer: Tokenizer,
    max_length: int | None = None,
    name: str | None = None,
    revision: str = "unknown",
    tokenizer_name: str | None = None,
    loading: Mapping[str, str] | None = None,
) -> LanguageModel:
    """Return a model and tokenizer in memory as a LanguageModel; raises InputError for a model without a config.

    The quantization that the config declares is added to `loading`.
    """
    config: Any = getattr(model, "config", None)
    if config is None:
        raise InputError(f"`model`: expected a transformers model with a config, got {type(model).__name__}")
    quantization = describe_quantization(getattr(config, "quantization_config", None))
    model_name = name if name is not None else str(getattr(config, "name_or_path", "") or type(model).__name__)
    return LanguageModel(
        model=model,
        tokenizer=tokenizer,
        max_length=choose_max_length(model, max_length),
        name=model_name,
        revision=revision,
        tokenizer_name=tokenizer_name if tokenizer_name is not None else model_name,
        loading={**({"quantization": quantization} if quantization is not None else {}), **(loading or {})},
    )
