"""A causal language model as it is scored: weights, tokenizer, context length, and what they are called."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer

from hf_core_bpb.errors import InputError, reason
from hf_core_bpb.interfaces import Tokenizer
from hf_core_bpb.scoring.forward import positions_of
from hf_core_bpb.signature import digest

# For models without positions, such as Mamba: long enough for every prompt of the suites at ten shots.
UNBOUNDED_MAX_LENGTH = 2048

DTYPES = ("auto", "float32", "bfloat16", "float16")


@dataclass(frozen=True, slots=True)
class LanguageModel:
    """A model with its tokenizer; `max_length` is how many tokens a forward may hold."""

    model: torch.nn.Module
    tokenizer: Tokenizer
    max_length: int
    name: str
    revision: str
    tokenizer_name: str

    @property
    def dtype(self) -> str:
        """The dtype of the weights, as torch names it without its prefix."""
        return str(next(self.model.parameters()).dtype).removeprefix("torch.")


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """What to load and how; `dtype` auto is the checkpoint's own, but float32 on a CPU."""

    name: str
    revision: str | None = None
    tokenizer: str | None = None
    dtype: str = "auto"
    trust_remote_code: bool = False


def choose_max_length(model: torch.nn.Module, asked: int | None) -> int:
    """Return the context length: the model's positions, or fewer where asked for.

    Raises InputError for more than the model has, or fewer than two.
    """
    positions = positions_of(model)
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
) -> LanguageModel:
    """Return a model and tokenizer in memory as a LanguageModel. Raises InputError for a model without a config."""
    config: Any = getattr(model, "config", None)
    if config is None:
        raise InputError(f"model: expected one of transformers, with a config, got {type(model).__name__}")
    known_as = name if name is not None else str(getattr(config, "name_or_path", "") or type(model).__name__)
    return LanguageModel(
        model=model,
        tokenizer=tokenizer,
        max_length=choose_max_length(model, max_length),
        name=known_as,
        revision=revision,
        tokenizer_name=tokenizer_name if tokenizer_name is not None else known_as,
    )


def load_language_model(options: ModelOptions, device: torch.device, max_length: int | None) -> LanguageModel:
    """Return a model of the Hub or a folder on a device.

    Raises InputError where model, revision, tokenizer or dtype cannot be had.
    """
    dtype = "float32" if options.dtype == "auto" and device.type == "cpu" else options.dtype
    trust = {"trust_remote_code": options.trust_remote_code}
    own = options.tokenizer is None
    source = options.name if options.tokenizer is None else options.tokenizer
    with _said_of("--model", f"a causal language model at {options.name!r}"):
        model: Any = AutoModelForCausalLM.from_pretrained(
            options.name, revision=options.revision, dtype=dtype, use_safetensors=True, **trust
        )
    with _said_of("--model" if own else "--tokenizer", f"a tokenizer at {source!r}"):
        tokenizer: Any = AutoTokenizer.from_pretrained(source, revision=options.revision if own else None, **trust)
    if len(tokenizer) == len(tokenizer.all_special_ids):
        raise InputError(f"--tokenizer: expected a tokenizer at {source!r}, got one without a vocabulary")
    revision = _resolve_revision(options)
    return wrap(model.to(device).eval(), tokenizer, max_length, options.name, revision, options.tokenizer)


@contextmanager
def _said_of(option: str, expected: str) -> Iterator[None]:
    """Turn what the libraries raise for a place that holds no such thing into one line."""
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise InputError(f"{option}: expected {expected}, got: {reason(error)}") from None


def weights_of(folder: Path) -> str:
    """Return what changes when the files of a model's folder do: a digest of their names, sizes and times."""
    files = sorted(path for path in folder.iterdir() if path.is_file())
    return digest(repr([(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]))


def _resolve_revision(options: ModelOptions) -> str:
    """Return the commit that was read from the Hub's cache, or that it was a folder."""
    from huggingface_hub import try_to_load_from_cache

    if Path(options.name).is_dir():
        return "folder"
    path = try_to_load_from_cache(options.name, "config.json", revision=options.revision)
    return Path(path).parent.name if isinstance(path, str) else options.revision or "unknown"
