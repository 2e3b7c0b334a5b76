"""Models of the Hub or a folder: whole, spread over devices or processes, quantised, adapted, compiled."""

import hashlib
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import CPUOffloadPolicy, OffloadPolicy, fully_shard
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig, PretrainedConfig

from hf_core_bpb.distributed import all_together, main_process_first, process_group
from hf_core_bpb.errors import InputError, reason
from hf_core_bpb.models.evaluation_mode import evaluation_mode
from hf_core_bpb.models.inspect import base_of, describe_quantization, device_of, dtype_of, positions_of
from hf_core_bpb.models.language_model import LanguageModel, wrap
from hf_core_bpb.signature import digest

DTYPES = ("auto", "float32", "bfloat16", "float16")
Quantization = Literal["4bit", "8bit"]
_PICKLED = "*.bin"
_ADAPTER = "adapter_model.safetensors"
# One after another, so that code that was compiled for one length is used for the next.
_COMPILED_LENGTHS = (4, 9, 33, 65)


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """What to load and how; `dtype` auto is the checkpoint's own, but float32 on a CPU.

    device_map: how transformers spreads the model over the devices of one process; tp_plan: over processes,
    each with a part of every matrix. adapter: a PEFT adapter's id or folder. gguf_file: a file in the model's
    folder or repository. allow_pickle: take weights that are no safetensors.
    """

    name: str
    revision: str | None = None
    tokenizer: str | None = None
    dtype: str = "auto"
    trust_remote_code: bool = False
    device_map: str | None = None
    tp_plan: str | None = None
    quantization: Quantization | None = None
    adapter: str | None = None
    attn_implementation: str | None = None
    compiled: bool = False
    gguf_file: str | None = None
    allow_pickle: bool = False


def is_fsdp_asked_for() -> bool:
    """Say whether accelerate launch was told to shard models (--use_fsdp, or its configuration file)."""
    return os.environ.get("ACCELERATE_USE_FSDP", "false").lower() in ("1", "true") and process_group().num_processes > 1


def check_loading(options: ModelOptions) -> None:
    """Raise InputError for ways to load that do not go together, or ask for what is not installed."""
    processes = process_group().num_processes
    spread = {
        "--device-map": options.device_map is not None,
        "--tp-plan": options.tp_plan is not None,
        "accelerate launch --use_fsdp": is_fsdp_asked_for(),
    }
    asked = [name for name, is_asked in spread.items() if is_asked]
    if len(asked) > 1:
        raise InputError(f"{asked[0]}: expected one way to spread the model, got {' and '.join(asked)}")
    if options.device_map is not None and processes > 1:
        raise InputError(f"--device-map: expected one process, which the devices belong to, got {processes}")
    if options.tp_plan is not None and processes == 1:
        raise InputError("--tp-plan: expected several processes (torchrun --nproc_per_node N), got one")
    if options.quantization is not None and asked[:1] not in ([], ["--device-map"]):
        raise InputError(f"--quantization: expected a whole model on each process, got {asked[0]}")
    if options.quantization is not None and options.gguf_file is not None:
        raise InputError("--quantization: expected weights that are not quantised, got a GGUF file")
    for option, is_asked, package, extra in (
        ("--adapter", options.adapter is not None, "peft", "adapters"),
        ("--quantization", options.quantization is not None, "bitsandbytes", "quantization"),
        ("--gguf-file", options.gguf_file is not None, "gguf", "gguf"),
    ):
        if is_asked and find_spec(package) is None:
            raise InputError(f"{option}: expected {package} (pip install 'hf_core_bpb[{extra}]'), got none installed")


def load_together(options: ModelOptions, device: torch.device, max_length: int | None) -> LanguageModel:
    """Return a model on every process of the group: the main one first, or all at once where each holds a part.

    Raises InputError on all of them where one cannot load it.
    """
    if is_fsdp_asked_for():
        # Else transformers leaves the weights of all processes but the first as they happen to be in memory.
        os.environ["FSDP_CPU_RAM_EFFICIENT_LOADING"] = "false"
    if options.tp_plan is None:
        lm = main_process_first(lambda: load_language_model(options, device, max_length))
        if is_fsdp_asked_for():
            all_together(lambda: _shard(lm.model, device))
        return lm
    main_process_first(lambda: _fetch(options))
    return all_together(lambda: load_language_model(options, device, max_length))


def load_language_model(options: ModelOptions, device: torch.device, max_length: int | None) -> LanguageModel:
    """Return a model of the Hub or a folder on a device.

    Raises InputError where model, revision, tokenizer, adapter or dtype cannot be had.
    """
    check_loading(options)
    trust = {"trust_remote_code": options.trust_remote_code}
    loading = _describe(options)
    own = options.tokenizer is None
    source = options.name if options.tokenizer is None else options.tokenizer
    hint = "" if options.allow_pickle else "; pickled weights are taken with --allow-pickle alone"
    with _said_of("--model", f"a causal language model at {options.name!r}", hint):
        placed = _check_quantization(options) or options.quantization is not None
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            options.name, revision=options.revision, output_loading_info=True, **trust, **_how(options, device, placed)
        )
        model, found = loaded
        _check_complete("--model", options.name, found)
    if options.quantization is not None:
        done = describe_quantization(getattr(model.config, "quantization_config", None))
        if done != f"bitsandbytes-{options.quantization}":
            raise InputError(f"--quantization {options.quantization}: expected weights of so many bits, got {done}")
    if options.adapter is not None:
        with _said_of("--adapter", f"a PEFT adapter of this model at {options.adapter!r}"):
            loading["adapter"] = _pin_adapter(options.adapter)
            _check_complete("--adapter", options.adapter, model.load_adapter(options.adapter))
    with _said_of("--model" if own else "--tokenizer", f"a tokenizer at {source!r}"):
        file = {"gguf_file": options.gguf_file} if own and options.gguf_file is not None else {}
        revision = options.revision if own else None
        tokenizer: Any = AutoTokenizer.from_pretrained(source, revision=revision, **file, **trust)
    if options.tokenizer is not None:
        loading["tokenizer"] = _pin_tokenizer(options.tokenizer)
    if len(tokenizer) == len(tokenizer.all_special_ids):
        raise InputError(f"--tokenizer: expected a tokenizer at {source!r}, got one without a vocabulary")
    if (options.device_map, options.tp_plan) == (None, None) and not placed:
        model = model.to(device)
    if options.compiled and _compile(model):
        loading["compiled"] = "yes"
    return wrap(
        model.eval(), tokenizer, max_length, options.name, _resolve_revision(options), options.tokenizer,
        loading,
    )  # fmt: skip


def _check_complete(option: str, name: str, found: Any) -> None:
    """Raise InputError for weights that the files do not hold: they would be what they happen to be."""
    said = found if isinstance(found, dict) else getattr(found, "__dict__", {})
    absent = sorted(map(str, [*(said.get("missing_keys") or ()), *(said.get("mismatched_keys") or ())]))
    if absent:
        raise InputError(
            f"{option}: expected all weights of the model at {name!r}, got none that fit for {len(absent)} of them, "
            f"such as {absent[0]}"
        )


def _check_quantization(options: ModelOptions) -> bool:
    """Say whether a checkpoint is quantised; raises InputError where it then cannot be loaded as asked for."""
    if options.gguf_file is not None:
        return False
    try:
        settings, _ = PretrainedConfig.get_config_dict(options.name, revision=options.revision)
    except OSError:
        # A folder of an adapter alone has none, and what has neither is said when it is loaded.
        return False
    held = describe_quantization(settings.get("quantization_config"))
    if held is not None and options.quantization is not None:
        raise InputError(f"--quantization: expected weights that are not quantised, got {held}")
    if held is not None and is_fsdp_asked_for():
        raise InputError(f"accelerate launch --use_fsdp: expected weights that are not quantised, got {held}")
    return held is not None


def _how(options: ModelOptions, device: torch.device, placed: bool) -> dict[str, Any]:
    """Return what from_pretrained is asked for beside the model's name; `placed` where it puts it on the device."""
    on_cpu = device.type == "cpu"
    dtype = "float32" if options.dtype == "auto" and on_cpu else options.dtype
    asked: dict[str, Any] = {"dtype": dtype}
    if options.gguf_file is not None:
        asked["gguf_file"] = options.gguf_file
    elif not options.allow_pickle:
        asked["use_safetensors"] = True
    if options.device_map is not None:
        asked["device_map"] = options.device_map
    if options.tp_plan is not None:
        from transformers.distributed.configuration_utils import DistributedConfig

        asked["distributed_config"] = DistributedConfig(tp_plan="auto")
    if options.quantization is not None:
        computed_in = getattr(torch, dtype, torch.bfloat16)
        asked["quantization_config"] = (
            BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_compute_dtype=computed_in)
            if options.quantization == "4bit"
            else BitsAndBytesConfig(load_in_8bit=True)
        )
    if placed and options.tp_plan is None:
        asked.setdefault("device_map", {"": device})
    if options.attn_implementation is not None:
        asked["attn_implementation"] = options.attn_implementation
    return asked


def _describe(options: ModelOptions) -> dict[str, str]:
    """Return what numbers may depend on, under the names that signatures have it by."""
    parts = {
        "quantization": options.quantization,
        "gguf": options.gguf_file,
        "attention": options.attn_implementation,
        "remote-code": "yes" if options.trust_remote_code else None,
    }
    return {name: said for name, said in parts.items() if said is not None}


def _compile(model: Any) -> bool:
    """Compile what is below a model's head, and say whether its logits stay what they are; else leave it as it is."""
    part = base_of(model) or model
    longest = positions_of(model) or _COMPILED_LENGTHS[-1]
    some = [torch.arange(min(length, longest), device=device_of(model))[None] % 7 for length in _COMPILED_LENGTHS]
    with evaluation_mode(model):
        plain = [model(input_ids=ids_1xT, use_cache=False).logits.float() for ids_1xT in some]
        part.forward = torch.compile(part.forward, dynamic=True)
        after = [model(input_ids=ids_1xT, use_cache=False).logits.float() for ids_1xT in some]
    off = max(float((a - b).abs().max()) for a, b in zip(plain, after, strict=True))
    largest = max(float(logits.abs().max()) for logits in plain)
    if off <= largest * (1e-3 if dtype_of(model) == torch.float32 else 0.05):
        return True
    del part.forward
    warnings.warn(
        f"the model is scored without --compile, as right but slower: logits are off by {off:.2g}", stacklevel=2
    )
    return False


def _shard(model: Any, device: torch.device) -> None:
    """Have every process hold a part of each layer's weights, which it gathers when they are needed (FSDP2)."""
    mesh = init_device_mesh(device.type, (process_group().num_processes,))
    offload = os.environ.get("FSDP_OFFLOAD_PARAMS", "false").lower() in ("1", "true")
    policy = CPUOffloadPolicy() if offload and device.type != "cpu" else OffloadPolicy()
    layers = set(getattr(model, "_no_split_modules", None) or ())
    for module in model.modules():
        if type(module).__name__ in layers:
            fully_shard(module, mesh=mesh, offload_policy=policy)
    fully_shard(model, mesh=mesh, offload_policy=policy)


def _fetch(options: ModelOptions) -> None:
    """Fill the cache with a model of the Hub, so that processes that load together only read it."""
    from huggingface_hub import snapshot_download

    if not Path(options.name).is_dir():
        with _said_of("--model", f"a causal language model at {options.name!r}"):
            left_out = ["*.gguf", "*.h5", "*.msgpack", "*.onnx", *([] if options.allow_pickle else [_PICKLED])]
            snapshot_download(options.name, revision=options.revision, ignore_patterns=left_out)


def _pin_adapter(name: str) -> str:
    """Return an adapter with what pins its weights: their commit on the Hub, or a digest of their file.

    Raises InputError for one whose weights are no safetensors.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    if not Path(name).is_dir():
        try:
            return f"{name}@{Path(hf_hub_download(name, _ADAPTER)).parent.name}"
        except EntryNotFoundError:
            raise InputError(f"--adapter: expected {_ADAPTER} at {name!r}, got none") from None
    path = Path(name) / _ADAPTER
    if not path.is_file():
        raise InputError(f"--adapter: expected {_ADAPTER} at {name!r}, got none")
    content = path.read_bytes() + (Path(name) / "adapter_config.json").read_bytes()
    return f"{name}@sha256:{hashlib.sha256(content).hexdigest()[:8]}"


def _pin_tokenizer(name: str) -> str:
    """Return a tokenizer with what pins it: its commit on the Hub, or a digest of its files."""
    if not Path(name).is_dir():
        return f"{name}@{_commit_of(name, None, 'tokenizer_config.json', 'tokenizer.json', 'config.json')}"
    wanted = ("tokenizer", "vocab", "merges", "special_tokens", "added_tokens", "spiece")
    files = sorted(path for path in Path(name).iterdir() if path.name.startswith(wanted) and path.is_file())
    return f"{name}@sha256:{hashlib.sha256(b''.join(path.read_bytes() for path in files)).hexdigest()[:8]}"


@contextmanager
def _said_of(option: str, expected: str, hint: str = "") -> Iterator[None]:
    """Turn what the libraries raise for a place that holds no such thing into one line."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # files of strangers, and code that reads them, can fail in any way
        said = reason(error)
        raise InputError(f"{option}: expected {expected}, got: {said}{hint if 'safetensors' in said else ''}") from None


def weights_of(folder: Path) -> str:
    """Return what changes when a model's files do: a digest of their names, sizes and times, .md and .log aside."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.suffix not in (".md", ".log"))
    return digest(repr([(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]))


def _resolve_revision(options: ModelOptions) -> str:
    """Return the commit that was read from the Hub's cache, or that it was a folder."""
    if Path(options.name).is_dir():
        return "folder"
    return _commit_of(options.name, options.revision, options.gguf_file or "config.json")


def _commit_of(name: str, revision: str | None, *files: str) -> str:
    """Return the commit that the first of these files that is in the Hub's cache is of."""
    from huggingface_hub import try_to_load_from_cache

    for file in files:
        path = try_to_load_from_cache(name, file, revision=revision)
        if isinstance(path, str):
            return Path(path).parent.name
    return revision or "unknown"
