"""Run tests once for each instruction set that this CPU supports.

    python tests/support/instruction_sets.py              the tests marked instruction_sets, under every setting
    python tests/support/instruction_sets.py FILE...      these tests, under every torch kernel but the CPU's own

torch, oneDNN and MKL each choose their kernels by the CPU and by an environment variable. Each value that the CPU
supports is set in one run at least.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

AT_ONCE = 2
# The files that have marked tests: to import all the others takes longer than to run these.
MARKED = ("-m", "instruction_sets", "tests/scoring/test_engine.py", "tests/test_instruction_sets.py")
AVX512 = ("avx512f", "avx512bw", "avx512dq", "avx512vl")
# Each value with the flags of /proc/cpuinfo that it needs, from the oldest instruction set to the newest.
VALUES: dict[str, dict[str, Sequence[str]]] = {
    "ATEN_CPU_CAPABILITY": {"default": (), "avx2": ("avx2", "fma"), "avx512": ("fma", *AVX512)},
    "ONEDNN_MAX_CPU_ISA": {
        "SSE41": ("sse4_1",),
        "AVX": ("avx",),
        "AVX2": ("avx2",),
        "AVX2_VNNI": ("avx_vnni",),
        "AVX512_CORE": AVX512,
        "AVX512_CORE_VNNI": (*AVX512, "avx512_vnni"),
        "AVX512_CORE_BF16": (*AVX512, "avx512_bf16"),
        "AVX512_CORE_FP16": (*AVX512, "avx512_fp16"),
        "AVX512_CORE_AMX": (*AVX512, "amx_tile", "amx_int8", "amx_bf16"),
    },
    "MKL_ENABLE_INSTRUCTIONS": {
        "SSE4_2": ("sse4_2",),
        "AVX": ("avx",),
        "AVX2": ("avx2",),
        "AVX512": AVX512,
    },
}


def read_flags() -> set[str]:
    """Return the instruction sets that Linux names, none on another system."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.is_file() else []
    return {flag for line in lines if line.startswith("flags") for flag in line.partition(":")[2].split()}


def supported(variable: str, flags: set[str]) -> list[str]:
    return [value for value, needed in VALUES[variable].items() if flags.issuperset(needed)]


def all_settings(flags: set[str]) -> list[dict[str, str]]:
    """Return settings in which every supported value of every variable occurs."""
    columns = {variable: supported(variable, flags) for variable in VALUES}
    columns = {variable: values for variable, values in columns.items() if values}
    longest = max(map(len, columns.values()))
    return [
        {variable: values[min(index, len(values) - 1)] for variable, values in columns.items()}
        for index in range(longest)
    ]


def older_kernels(flags: set[str]) -> list[dict[str, str]]:
    """Return a setting for each supported kernel of torch but the one that it chooses by itself."""
    return [{"ATEN_CPU_CAPABILITY": value} for value in supported("ATEN_CPU_CAPABILITY", flags)[:-1]]


def run_pytest(setting: dict[str, str], arguments: Sequence[str]) -> bool:
    """Print the last line of one run, all of it where it fails, and return whether it passed."""
    program = str(Path(sys.executable).with_name("pytest"))
    command = [program, "-q", "-p", "no:cacheprovider", *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | setting
    finished = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    lines = finished.stdout.rstrip().splitlines() or [f"pytest printed nothing and exited with {finished.returncode}"]
    shown = lines if finished.returncode else lines[-1:]
    print(" ".join(f"{name}={value}" for name, value in setting.items()), *shown, sep="\n  ", flush=True)
    return finished.returncode == 0


def main(paths: Sequence[str]) -> int:
    flags = read_flags()
    settings = older_kernels(flags) if paths else all_settings(flags)
    arguments = paths or MARKED
    with ThreadPoolExecutor(AT_ONCE) as pool:
        passed = list(pool.map(lambda setting: run_pytest(setting, arguments), settings))
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
