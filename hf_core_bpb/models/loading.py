"""Loading models of the Hub or a folder: whole, spread over devices or processes, quantized, adapted, compiled."""

import hashlib
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import CPUOffloadPolicy, OffloadPolicy, fully_shard
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig, PretrainedConfig

from hf_core_bpb import __version__
from hf_core_bpb.distributed import all_together, main_process_first, process_group
from hf_core_bpb.errors import InputError, reason
from hf_core_bpb.models.evaluation_mode import evaluation_mode
from hf_core_bpb.models.inspect import base_of, describe_quantization, device_of, dtype_of, positions_of
from hf_core_bpb.models.language_model import LanguageModel, wrap
from hf_core_bpb.models.options import ModelOptions
from hf_core_bpb.signature import digest

_PICKLED = "*.bin"
_ADAPTER = "adapter_model.safetensors"
# One after another, so that code compiled for one length is used for the next.
_COMPILED_LENGTHS = (4, 9, 33, 65)


def is_fsdp_requested() -> bool:
    """Return whether accelerate launch was told to shard models, by option or configuration file."""
    return os.environ.get("ACCELERATE_USE_FSDP", "false").lower() in ("1", "true") and process_group().num_processes > 1


def check_loading(options: ModelOptions) -> None:
    """Raise InputError for options that do not go together, or need a package or a folder that is missing."""
    options.check_location()
    processes = process_group().num_processes
    spread = {
        "`device_map`": options.device_map is not None,
        "`tp_plan`": options.tp_plan is not None,
        "accelerate's FSDP": is_fsdp_requested(),
    }
    requested = [name for name, is_requested in spread.items() if is_requested]
    if len(requested) > 1:
        raise InputError(f"{requested[0]}: expected one way to spread the model, got {' and '.join(requested)}")
    if options.device_map is not None and processes > 1:
        raise InputError(f"`device_map`: expected one process that owns all devices, got {processes}")
    if options.tp_plan is not None and processes == 1:
        raise InputError("`tp_plan`: expected several processes, got one: launch with torchrun and several processes")
    if options.quantization is not None and requested[:1] not in ([], ["`device_map`"]):
        raise InputError(f"`quantization`: expected a whole model on each process, got {requested[0]}")
    if options.quantization is not None and options.gguf_file is not None:
        raise InputError("`quantization`: expected unquantized weights, got a GGUF file")
    for option, is_requested, package, extra in (
        ("adapter", options.adapter is not None, "peft", "adapters"),
        ("quantization", options.quantization is not None, "bitsandbytes", "quantization"),
        ("gguf_file", options.gguf_file is not None, "gguf", "gguf"),
    ):
        if is_requested and find_spec(package) is None:
            raise InputError(f"`{option}`: {package} is not installed: pip install 'hf_core_bpb[{extra}]'")


def load_together(options: ModelOptions, device: torch.device, max_length: int | None) -> LanguageModel:
    """Return a model on every process of the group: the main one first, or all at once if each holds a part.

    If one process cannot load it, all raise InputError.
    """
    if is_fsdp_requested():
        # Otherwise transformers leaves the weights of all processes but the first as they happen to be in memory.
        os.environ["FSDP_CPU_RAM_EFFICIENT_LOADING"] = "false"
    if options.tp_plan is None:
        lm = main_process_first(lambda: load_language_model(options, device, max_length))
        if is_fsdp_requested():
            all_together(lambda: _shard(lm.model, device))
        return lm
    main_process_first(lambda: _fetch(options))
    return all_together(lambda: load_language_model(options, device, max_length))


def load_language_model(options: ModelOptions, device: torch.device, max_length: int | None) -> LanguageModel:
    """Return a model of the Hub or a folder on a device; the demo goes by the name demo.

    Raises InputError if the model, revision, tokenizer, adapter or dtype is not available.
    """
    check_loading(options)
    loading = _describe(options)
    model, is_quantized = _load_weights(options, device)
    if options.adapter is not None:
        with _as_input_error("adapter", f"a PEFT adapter of this model at {options.adapter!r}"):
            loading["adapter"] = _pin_adapter(options.adapter)
            _check_complete("adapter", options.adapter, model.load_adapter(options.adapter))
    tokenizer = _load_tokenizer(options)
    if options.tokenizer is not None:
        loading["tokenizer"] = _pin_tokenizer(options.tokenizer)
    if (options.device_map, options.tp_plan) == (None, None) and not is_quantized and not is_fsdp_requested():
        model = model.to(device)
    if options.compile and _compile(model):
        loading["compiled"] = "yes"
    revision = _resolve_revision(options)
    lm = wrap(model.eval(), tokenizer, max_length, options.location, revision, options.tokenizer, loading)
    if options.is_demo:
        lm = replace(lm, name="demo", revision=__version__, tokenizer_name=options.tokenizer or "demo")
    return lm


def _load_weights(options: ModelOptions, device: torch.device) -> tuple[Any, bool]:
    """Return the model, and whether it is quantized, in which case it is on its device already."""
    hint = "" if options.allow_pickle else "; pickled weights need `allow_pickle`"
    with _as_input_error("model", f"a causal language model at {options.location!r}", hint):
        is_quantized = _is_quantized_checkpoint(options) or options.quantization is not None
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            options.location,
            revision=options.revision,
            output_loading_info=True,
            trust_remote_code=options.trust_remote_code,
            **_loading_arguments(options, device, is_quantized),
        )
        model, info = loaded
        _check_complete("model", options.location, info)
    if options.quantization is not None:
        method = describe_quantization(getattr(model.config, "quantization_config", None))
        if method != f"bitsandbytes-{options.quantization}":
            raise InputError(f"`quantization`: expected weights in {options.quantization}, got {method}")
    return model, is_quantized


def _load_tokenizer(options: ModelOptions) -> Any:
    source = options.tokenizer if options.tokenizer is not None else options.location
    is_models = options.tokenizer is None
    with _as_input_error("model" if is_models else "tokenizer", f"a tokenizer at {source!r}"):
        file = {"gguf_file": options.gguf_file} if is_models and options.gguf_file is not None else {}
        tokenizer: Any = AutoTokenizer.from_pretrained(
            source,
            revision=options.revision if is_models else None,
            trust_remote_code=options.trust_remote_code,
            **file,
        )
    if len(tokenizer) == len(tokenizer.all_special_ids):
        raise InputError(f"`tokenizer`: expected a tokenizer at {source!r}, got one without a vocabulary")
    return tokenizer


def _check_complete(option: str, name: str, info: Any) -> None:
    """Raise InputError for weights that are missing in the files: they would stay random."""
    values = info if isinstance(info, dict) else getattr(info, "__dict__", {})
    missing = sorted(map(str, [*(values.get("missing_keys") or ()), *(values.get("mismatched_keys") or ())]))
    if missing:
        raise InputError(
            f"`{option}`: the files at {name!r} lack {len(missing)} weights of the model, or have them in another "
            f"shape, such as {missing[0]}"
        )


def _is_quantized_checkpoint(options: ModelOptions) -> bool:
    """Return whether the checkpoint is quantized; raises InputError for options that do not go with that."""
    if options.gguf_file is not None:
        return False
    try:
        settings, _ = PretrainedConfig.get_config_dict(options.location, revision=options.revision)
    except OSError:
        # The folder of an adapter has no config; a location without either is reported when it is loaded.
        return False
    method = describe_quantization(settings.get("quantization_config"))
    if method is not None and options.quantization is not None:
        raise InputError(f"`quantization`: expected unquantized weights, got {method}")
    if method is not None and is_fsdp_requested():
        raise InputError(f"accelerate's FSDP: expected unquantized weights, got {method}")
    return method is not None


def _loading_arguments(options: ModelOptions, device: torch.device, is_quantized: bool) -> dict[str, Any]:
    """Return the keywords of from_pretrained, which places the model on an accelerator without a copy in memory."""
    on_cpu = device.type == "cpu"
    dtype = "float32" if options.dtype == "auto" and on_cpu else options.dtype
    arguments: dict[str, Any] = {"dtype": dtype}
    if options.gguf_file is not None:
        arguments["gguf_file"] = options.gguf_file
    elif not options.allow_pickle:
        arguments["use_safetensors"] = True
    if options.device_map is not None:
        arguments["device_map"] = options.device_map
    if options.tp_plan is not None:
        from transformers.distributed.configuration_utils import DistributedConfig

        arguments["distributed_config"] = DistributedConfig(tp_plan="auto")
    if options.quantization is not None:
        computed_in = getattr(torch, dtype, torch.bfloat16)
        arguments["quantization_config"] = (
            BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_compute_dtype=computed_in)
            if options.quantization == "4bit"
            else BitsAndBytesConfig(load_in_8bit=True)
        )
    # A GGUF file is converted on the CPU. A model to be sharded goes to the device layer by layer.
    is_placed = not on_cpu and options.gguf_file is None and not is_fsdp_requested()
    if (is_quantized or is_placed) and options.tp_plan is None:
        arguments.setdefault("device_map", {"": device})
    if options.attn_implementation is not None:
        arguments["attn_implementation"] = options.attn_implementation
    return arguments


def _describe(options: ModelOptions) -> dict[str, str]:
    """Return the options that numbers may depend on, by their names in signatures."""
    parts = {
        "quantization": options.quantization,
        "gguf": options.gguf_file,
        "attention": options.attn_implementation,
        "remote-code": "yes" if options.trust_remote_code else None,
    }
    return {name: value for name, value in parts.items() if value is not None}


def _compile(model: Any) -> bool:
    """Compile the part below the head, and return whether the logits stay the same; otherwise undo it."""
    part = base_of(model) or model
    longest = positions_of(model) or _COMPILED_LENGTHS[-1]
    batches = [torch.arange(min(length, longest), device=device_of(model))[None] % 7 for length in _COMPILED_LENGTHS]
    with evaluation_mode(model):
        plain = [model(input_ids=ids_1xT, use_cache=False).logits.float() for ids_1xT in batches]
        part.forward = torch.compile(part.forward, dynamic=True)
        after = [model(input_ids=ids_1xT, use_cache=False).logits.float() for ids_1xT in batches]
    deviation = max(float((a - b).abs().max()) for a, b in zip(plain, after, strict=True))
    largest = max(float(logits.abs().max()) for logits in plain)
    if deviation <= largest * (1e-3 if dtype_of(model) == torch.float32 else 0.05):
        return True
    del part.forward
    warnings.warn(
        f"`compile` disabled: it moves logits by {deviation:.2g}. Results are unaffected, the run is slower.",
        stacklevel=2,
    )
    return False


def _shard(model: Any, device: torch.device) -> None:
    """Shard each layer's weights over the processes, which gather them when needed (FSDP2).

    The model is on the CPU. Each layer goes to the device when it is sharded, so no device holds the whole model.
    """
    mesh = init_device_mesh(device.type, (process_group().num_processes,))
    offload = os.environ.get("FSDP_OFFLOAD_PARAMS", "false").lower() in ("1", "true")
    policy = CPUOffloadPolicy() if offload and device.type != "cpu" else OffloadPolicy()
    layers = set(getattr(model, "_no_split_modules", None) or ())
    for module in model.modules():
        if type(module).__name__ in layers:
            fully_shard(module, mesh=mesh, offload_policy=policy)
    fully_shard(model, mesh=mesh, offload_policy=policy)


def _fetch(options: ModelOptions) -> None:
    """Fill the cache with a model of the Hub, so that processes that load at the same time only read it."""
    from huggingface_hub import snapshot_download

    if not options.is_folder:
        with _as_input_error("model", f"a causal language model at {options.location!r}"):
            ignored = ["*.gguf", "*.h5", "*.msgpack", "*.onnx", *([] if options.allow_pickle else [_PICKLED])]
            snapshot_download(options.location, revision=options.revision, ignore_patterns=ignored)


def _pin_adapter(name: str) -> str:
    """Return an adapter's name with the commit of its weights on the Hub, or a digest of their file.

    Raises InputError for weights that are not safetensors.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    if not Path(name).is_dir():
        try:
            return f"{name}@{Path(hf_hub_download(name, _ADAPTER)).parent.name}"
        except EntryNotFoundError:
            raise InputError(f"`adapter`: no {_ADAPTER} at {name!r}") from None
    path = Path(name) / _ADAPTER
    if not path.is_file():
        raise InputError(f"`adapter`: no {_ADAPTER} at {name!r}")
    content = path.read_bytes() + (Path(name) / "adapter_config.json").read_bytes()
    return f"{name}@sha256:{hashlib.sha256(content).hexdigest()[:8]}"


def _pin_tokenizer(name: str) -> str:
    """Return a tokenizer's name with its commit on the Hub, or a digest of its files."""
    if not Path(name).is_dir():
        return f"{name}@{_commit_of(name, None, 'tokenizer_config.json', 'tokenizer.json', 'config.json')}"
    prefixes = ("tokenizer", "vocab", "merges", "special_tokens", "added_tokens", "spiece")
    files = sorted(path for path in Path(name).iterdir() if path.name.startswith(prefixes) and path.is_file())
    return f"{name}@sha256:{hashlib.sha256(b''.join(path.read_bytes() for path in files)).hexdigest()[:8]}"


@contextmanager
def _as_input_error(option: str, expected: str, hint: str = "") -> Iterator[None]:
    """Turn whatever the libraries raise into one line that names the option."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # files of strangers, and code that reads them, can fail in any way
        message = reason(error)
        suffix = hint if "safetensors" in message else ""
        raise InputError(f"`{option}`: expected {expected}, got: {message}{suffix}") from None


def digest_weights(folder: Path) -> str:
    """Return a digest of the names, sizes and times of a model's files, .md and .log aside."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.suffix not in (".md", ".log"))
    return digest(repr([(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]))


def _resolve_revision(options: ModelOptions) -> str:
    """Return the commit in the Hub's cache, or "folder"."""
    if options.is_folder:
        return "folder"
    return _commit_of(options.location, options.revision, options.gguf_file or "config.json")


def _commit_of(name: str, revision: str | None, *files: str) -> str:
    """Return the commit of the first of these files in the Hub's cache."""
    from huggingface_hub import try_to_load_from_cache

    for file in files:
        path = try_to_load_from_cache(name, file, revision=revision)
        if isinstance(path, str):
            return Path(path).parent.name
    return revision or "unknown"
