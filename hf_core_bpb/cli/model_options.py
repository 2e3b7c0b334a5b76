"""Options that say which model to load and how, for every command that loads one."""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from hf_core_bpb.errors import InputError

if TYPE_CHECKING:
    from hf_core_bpb.models.loading import ModelOptions

# Options that say something of --model, by their names in the parsed arguments.
_OF_THE_MODEL = (
    "revision", "trust_remote_code", "adapter", "quantization", "gguf_file", "device_map", "tp_plan",
    "attn_implementation", "compile", "allow_pickle",
)  # fmt: skip


def add_model_arguments(model: argparse._ArgumentGroup) -> None:
    """Add the options of a model to a parser's group."""
    model.add_argument("--model", metavar="ID_OR_PATH", help="Hub id or folder (default: the demo model)")
    model.add_argument("--revision", help="the Hub's branch, tag or commit (default: main)")
    model.add_argument("--tokenizer", metavar="ID_OR_PATH", help="default: the model's own")
    model.add_argument(
        "--dtype",
        choices=["auto", "float32", "bfloat16", "float16"],
        default="auto",
        help="default: auto, the checkpoint's own on an accelerator and float32 on a CPU",
    )
    model.add_argument(
        "--trust-remote-code", action="store_true", help="run code that comes with the model (default: off)"
    )
    model.add_argument("--adapter", metavar="ID_OR_PATH", help="a PEFT adapter on top of the model")
    model.add_argument(
        "--quantization", choices=["4bit", "8bit"], help="quantise the weights as they are loaded (bitsandbytes)"
    )
    model.add_argument("--gguf-file", metavar="FILE", help="a GGUF file in the model's folder or repository")
    model.add_argument(
        "--device-map",
        metavar="MAP",
        help="auto, balanced, sequential or a device: one process's devices, and where they are too small memory "
        "and disk, hold the model together",
    )
    model.add_argument(
        "--tp-plan", choices=["auto"], help="each process holds a part of every matrix (torchrun, tensor parallel)"
    )
    model.add_argument("--attn-implementation", metavar="NAME", help="sdpa, eager, flash_attention_2, ...")
    model.add_argument("--compile", action="store_true", help="compile the model with torch.compile")
    model.add_argument(
        "--allow-pickle", action="store_true", help="take weights that are no safetensors (default: refuse them)"
    )


def read_model_arguments(args: argparse.Namespace) -> "ModelOptions | None":
    """Return what was asked for, None where no model was. Raises InputError for options that would change nothing."""
    _check(args)
    if args.model is None:
        return None
    from hf_core_bpb.models.loading import ModelOptions

    name, gguf_file = args.model, args.gguf_file
    if name.endswith(".gguf"):
        path = Path(name)
        name, gguf_file = str(path.parent), path.name
    return ModelOptions(
        name=name,
        revision=args.revision,
        tokenizer=args.tokenizer,
        dtype=args.dtype,
        trust_remote_code=args.trust_remote_code,
        device_map=args.device_map,
        tp_plan=args.tp_plan,
        quantization=args.quantization,
        adapter=args.adapter,
        attn_implementation=args.attn_implementation,
        compiled=args.compile,
        gguf_file=gguf_file,
        allow_pickle=args.allow_pickle,
    )


def _check(args: argparse.Namespace) -> None:
    for name in _OF_THE_MODEL:
        asked = getattr(args, name)
        if args.model is None and asked is not None and asked is not False:
            raise InputError(f"--{name.replace('_', '-')}: expected --model with it, got none")
    # Unlike Path.exists, this takes any text.
    if args.revision is not None and os.path.exists(args.model):  # noqa: PTH110
        raise InputError(f"--revision: expected a Hub id as --model, got what is on the disk, {args.model!r}")
    if args.gguf_file is not None and args.model.endswith(".gguf"):
        raise InputError(f"--gguf-file: expected a folder or repository as --model, got the file {args.model!r}")
