"""How far the command is from the loss, and through which modules its options pass, counted on a run of the demo.

`python tests/support/structure.py` prints the calls and the modules.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import hf_core_bpb
from hf_core_bpb.cli.evaluate_options import EvaluateOptions
from hf_core_bpb.cli.main import main
from hf_core_bpb.evaluation.options import CoreOptions, TextOptions
from hf_core_bpb.evaluation.resolve import ResolvedCore
from hf_core_bpb.models.options import ModelOptions
from hf_core_bpb.scoring import forward

# A ResolvedCore carries its options along.
OPTIONS = (argparse.Namespace, EvaluateOptions, CoreOptions, TextOptions, ModelOptions, ResolvedCore)
PACKAGE = str(Path(hf_core_bpb.__file__).parent)


def run_demo() -> None:
    with tempfile.TemporaryDirectory() as folder:
        options = ["--tasks", "piqa", "--limit", "2", "--max-length", "256", "--batch-tokens", "512", "--quiet"]
        assert main([*options, "--output", f"{folder}/run"]) == 0


def module_of(frame) -> str | None:
    file = frame.f_code.co_filename
    if not file.startswith(PACKAGE):
        return None
    return ".".join(Path(file).relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


def functions_to_the_loss() -> list[str]:
    """The functions of the package on the way from main to the first loss, main and the loss included."""
    paths: list[list[str]] = []
    read_losses: Callable = forward.read_losses

    def recording(*args):
        path, frame = ["read_losses"], sys._getframe(1)
        while frame is not None:
            module = module_of(frame)
            if module is not None and not frame.f_code.co_name.startswith("<"):
                path.append(f"{module}.{frame.f_code.co_name}")
            frame = frame.f_back
        paths.append(path[::-1])
        return read_losses(*args)

    forward.read_losses = recording
    try:
        run_demo()
    finally:
        forward.read_losses = read_losses
    # The probe of fast paths reads losses too, further down.
    return min(paths, key=len)


@contextmanager
def _tracing(seen: set[str]):
    def trace(frame, event, _):
        module = module_of(frame) if event == "call" else None
        if module is not None and any(isinstance(value, OPTIONS) for value in frame.f_locals.values()):
            seen.add(module)

    sys.setprofile(trace)
    try:
        yield
    finally:
        sys.setprofile(None)


def modules_with_options() -> set[str]:
    """The modules whose functions are called with the options of the command, parsed or as the library's values."""
    seen: set[str] = set()
    with _tracing(seen):
        run_demo()
    return seen


if __name__ == "__main__":
    path = functions_to_the_loss()
    print(f"{len(path) - 1} calls: {' -> '.join(path)}")
    modules = sorted(modules_with_options())
    print(f"options in {len(modules)} modules: {', '.join(modules)}")
