"""The model of a metric, loaded once by its id and cached."""

from collections.abc import Mapping
from typing import Any

from hf_core_bpb.errors import InputError

_LOADING = ("model_id", "revision", "dtype", "trust_remote_code")
MODEL_OPTIONS = ("model", "tokenizer", *_LOADING)


class CachedModel:
    """Loads a model by its id once; `metric` is the name in messages."""

    def __init__(self, metric: str) -> None:
        """Start without a model."""
        self.metric = metric
        self._key: tuple[Any, ...] | None = None
        self._loaded: tuple[Any, Any] | None = None

    def get(self, options: Mapping[str, Any]) -> tuple[Any, Any]:
        """Return the model and tokenizer that MODEL_OPTIONS name, by id or in memory; raises InputError for neither."""
        model, model_id, tokenizer = (options.get(name) for name in ("model", "model_id", "tokenizer"))
        if (model is None) == (model_id is None):
            given = "none" if model is None else "both"
            raise InputError(f"{self.metric}: expected model_id, or model with tokenizer, got {given}")
        if model_id is not None:
            return self._load(str(model_id), tokenizer, options)
        unused = sorted(name for name in _LOADING if options.get(name) is not None)
        if tokenizer is None or isinstance(tokenizer, str) or unused:
            given = f"model with {', '.join(unused)}" if unused else "model without one"
            raise InputError(f"{self.metric}: expected model and tokenizer in memory, got {given}")
        return model, tokenizer

    def _load(self, model_id: str, tokenizer: Any, options: Mapping[str, Any]) -> tuple[Any, Any]:
        if tokenizer is not None and not isinstance(tokenizer, str):
            raise InputError(f"{self.metric}: expected tokenizer to be an id with model_id, got an object")
        key = (tokenizer, *(options.get(name) for name in _LOADING))
        if self._loaded is None or self._key != key:
            from hf_core_bpb.distributed import process_group
            from hf_core_bpb.models.loading import load_language_model
            from hf_core_bpb.models.options import DTYPES, ModelOptions

            if options.get("dtype") not in (None, *DTYPES):
                raise InputError(
                    f"{self.metric}: expected dtype to be one of {', '.join(DTYPES)}, got {options['dtype']!r}"
                )
            model_options = ModelOptions(
                model=model_id,
                revision=options.get("revision"),
                tokenizer=tokenizer,
                dtype=options.get("dtype") or "auto",
                trust_remote_code=bool(options.get("trust_remote_code")),
            )
            lm = load_language_model(model_options, process_group().device, None)
            self._key, self._loaded = key, (lm.model, lm.tokenizer)
        return self._loaded
