"""Which model to load, and how."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hf_core_bpb.data.demo import DEMO_MODEL
from hf_core_bpb.errors import InputError

Quantization = Literal["4bit", "8bit"]
DTYPES = ("auto", "float32", "bfloat16", "float16")


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """What to load and how; without a `model`, the demo.

    model: an id on the Hub or a folder. dtype: auto is that of the checkpoint, but float32 on a CPU. device_map: how
    transformers spreads the model over the devices of one process. tp_plan: how over processes, each with a part of
    every matrix. adapter: a PEFT adapter's id or folder. gguf_file: a file in the model's folder or repository.
    allow_pickle: accept weights that are not safetensors.
    """

    model: str | None = None
    revision: str | None = None
    tokenizer: str | None = None
    dtype: str = "auto"
    trust_remote_code: bool = False
    device_map: str | None = None
    tp_plan: str | None = None
    quantization: Quantization | None = None
    adapter: str | None = None
    attn_implementation: str | None = None
    compile: bool = False
    gguf_file: str | None = None
    allow_pickle: bool = False

    @property
    def is_demo(self) -> bool:
        """Whether the model is the one that ships with the package."""
        return self.model is None

    @property
    def location(self) -> str:
        """The id or folder that transformers loads from."""
        return self.model if self.model is not None else str(DEMO_MODEL)

    @property
    def is_folder(self) -> bool:
        """Whether the model lies on this machine's disk."""
        return os.path.isdir(self.location)  # noqa: PTH112 Path raises OSError for names that are too long

    def check_location(self) -> None:
        """Raise InputError for a path that is no folder of a model; an id is checked by the Hub."""
        if os.path.isfile(self.location):  # noqa: PTH113 Path raises OSError for names that are too long
            raise InputError(f"`model`: expected a folder or an id on the Hub, got the file {self.location!r}")
        if self.is_folder:
            files = [Path(self.location) / f"{name}config.json" for name in ("", "adapter_")]
            if self.gguf_file is None and not any(file.exists() for file in files):
                raise InputError(f"`model`: no config.json in the folder {self.location!r}")
        elif self.location.startswith((".", "~", "/")) or self.location.count("/") > 1:
            raise InputError(f"`model`: no such folder: {self.location!r}")
