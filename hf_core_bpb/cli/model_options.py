"""The options that say which model to load and how, for every command that loads one."""

import argparse
import os
from pathlib import Path

from hf_core_bpb.errors import InputError
from hf_core_bpb.models.options import DTYPES, ModelOptions

# Options that need a model of the user's own.
_NEED_MODEL = (
    "revision", "trust_remote_code", "adapter", "quantization", "gguf_file", "device_map", "tp_plan",
    "attn_implementation", "compile", "allow_pickle",
)  # fmt: skip


def add_model_options(group: argparse._ArgumentGroup) -> None:
    """Add the options of a model to a parser's group."""
    group.add_argument("--model", metavar="ID_OR_PATH", help="id on the Hub, or folder (default: the demo model)")
    group.add_argument("--revision", help="branch, tag or commit on the Hub (default: main)")
    group.add_argument("--tokenizer", metavar="ID_OR_PATH", help="tokenizer (default: the model's own)")
    group.add_argument(
        "--dtype",
        choices=DTYPES,
        default="auto",
        help="dtype of the weights (default: auto, the checkpoint's own on an accelerator and float32 on a CPU)",
    )
    group.add_argument(
        "--trust-remote-code", action="store_true", help="run code that comes with the model (default: off)"
    )
    group.add_argument("--adapter", metavar="ID_OR_PATH", help="PEFT adapter on top of the model")
    group.add_argument(
        "--quantization", choices=["4bit", "8bit"], help="quantize the weights while loading (bitsandbytes)"
    )
    group.add_argument("--gguf-file", metavar="FILE", help="GGUF file in the model's folder or repository")
    group.add_argument(
        "--device-map",
        metavar="MAP",
        help="auto, balanced, sequential or a device: spread the model over the devices of one process, then over "
        "memory and disk",
    )
    group.add_argument(
        "--tp-plan", choices=["auto"], help="tensor parallel: each process holds a part of every matrix (torchrun)"
    )
    group.add_argument("--attn-implementation", metavar="NAME", help="sdpa, eager, flash_attention_2, ...")
    group.add_argument("--compile", action="store_true", help="compile the model with torch.compile")
    group.add_argument(
        "--allow-pickle", action="store_true", help="accept weights that are not safetensors (default: reject)"
    )


def read_model_options(args: argparse.Namespace) -> ModelOptions:
    """Return the model to load; raises InputError for options that would change nothing."""
    for name in _NEED_MODEL:
        value = getattr(args, name)
        if args.model is None and value is not None and value is not False:
            raise InputError(f"`{name}`: expected `model` with it, got none")
    # Unlike Path.exists, this accepts any text.
    if args.revision is not None and os.path.exists(args.model):  # noqa: PTH110
        raise InputError(f"`revision`: expected an id on the Hub as `model`, got a path on disk, {args.model!r}")
    if args.gguf_file is not None and args.model.endswith(".gguf"):
        raise InputError(f"`gguf_file`: expected a folder or repository as `model`, got the file {args.model!r}")
    model, gguf_file = args.model, args.gguf_file
    if model is not None and model.endswith(".gguf"):
        model, gguf_file = str(Path(model).parent), Path(model).name
    return ModelOptions(
        model=model,
        revision=args.revision,
        tokenizer=args.tokenizer,
        dtype=args.dtype,
        trust_remote_code=args.trust_remote_code,
        device_map=args.device_map,
        tp_plan=args.tp_plan,
        quantization=args.quantization,
        adapter=args.adapter,
        attn_implementation=args.attn_implementation,
        compile=args.compile,
        gguf_file=gguf_file,
        allow_pickle=args.allow_pickle,
    )
