"""The command and scripts, run in processes of their own."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path


def program_of(launcher: tuple[str, ...]) -> list[str]:
    """Return the interpreter, or a launcher in place of it that chooses a free port for several processes."""
    if not launcher:
        return [sys.executable]
    free_port = {"torchrun": ["--standalone"], "accelerate": ["--main_process_port", "0"]}[launcher[0]]
    has_processes = any(name in launcher for name in ("--nproc_per_node", "--num_processes"))
    # accelerate's options follow its subcommand.
    num_first = 1 if launcher[0] == "torchrun" else 2
    program = str(Path(sys.executable).parent / launcher[0])
    return [program, *launcher[1:num_first], *(free_port if has_processes else []), *launcher[num_first:]]


def run_command(*arguments: str, launcher: tuple[str, ...] = (), cwd: Path | None = None, **environment: str):
    """Run the command and return the finished process; a launcher replaces the interpreter."""
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
    """Run a script and return the finished process."""
    program = program_of(launcher)
    return subprocess.run(
        [*program, str(path)], capture_output=True, text=True, timeout=300, cwd=path.parent, env=dict(os.environ)
    )
