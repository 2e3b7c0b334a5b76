"""Run the command in a separate process."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path


def program_of(launcher: tuple[str, ...]) -> list[str]:
    """Return the interpreter, or a launcher with its options on a free port."""
    if not launcher:
        return [sys.executable]
    port = {"torchrun": ["--standalone"], "accelerate": ["--main_process_port", "0"]}[launcher[0]]
    several = any(name in launcher for name in ("--nproc_per_node", "--num_processes"))
    num_words = 1 if launcher[0] == "torchrun" else 2
    program = str(Path(sys.executable).parent / launcher[0])
    return [program, *launcher[1:num_words], *(port if several else []), *launcher[num_words:]]


def run_command(*arguments: str, launcher: tuple[str, ...] = (), cwd: Path | None = None, **environment: str):
    """Return the finished process of the command, started by `launcher` if given."""
    program = program_of(launcher)
    return subprocess.run(
        [*program, "-m", "hf_core_bpb", *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=cwd or tempfile.gettempdir(),
        env={**os.environ, **environment},
    )


def run_script(path: Path, launcher: tuple[str, ...] = ()):
    """Return the finished process of a script."""
    program = program_of(launcher)
    return subprocess.run(
        [*program, str(path)], capture_output=True, text=True, timeout=300, cwd=path.parent, env=dict(os.environ)
    )
