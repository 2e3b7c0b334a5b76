"""Write the output of the demo into README.md: python docs/update_readme.py [--check].

With --check nothing is written, and the exit code is 1 if README.md shows another output. Numbers may differ a little,
as they do between CPUs. The demo scores the language reference of the Python that runs it, so on another version of
Python only the words and the layout are compared.
"""

import argparse
import contextlib
import io
import math
import os
import platform
import re
import sys
import tempfile
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"
BLOCK = re.compile(
    r"(?P<begin><!-- --8<-- \[start:output\] Python (?P<python>[\d.]+) -->\n```text\n)(?P<output>.*?)"
    r"(?P<end>```\n<!-- --8<-- \[end:output\] -->\n)",
    re.DOTALL,
)
COLUMNS = "80"
# Digests are of the Python that runs; spaces and lines of tables follow the widths of numbers.
DIGEST = re.compile(r"sha256:[0-9a-f]+|(?<=\|data:)[0-9a-f]+")
NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?(?:e[-+]\d+)?")
LAYOUT = re.compile(r"[\s─━]+")


def run_demo() -> str:
    """Return what the demo prints on a terminal of 80 columns."""
    os.environ["COLUMNS"] = COLUMNS
    from hf_core_bpb.cli.main import main

    printed = io.StringIO()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(printed):
        code = main(["--output", str(Path(folder) / "demo"), "--quiet"])
    if code != 0:
        raise SystemExit(f"the demo ended with exit code {code}")
    return "".join(f"{line.rstrip()}\n" for line in printed.getvalue().splitlines())


def is_current(shown: str, printed: str, same_python: bool) -> bool:
    """Return whether two outputs agree in words, layout and, if Python is the same, in numbers to 5% or 0.05."""
    shown, printed = DIGEST.sub("digest", shown), DIGEST.sub("digest", printed)
    words = [LAYOUT.sub(" ", NUMBER.sub("0", text)) for text in (shown, printed)]
    if words[0] != words[1]:
        return False
    pairs = zip(_numbers(shown), _numbers(printed), strict=True)
    return not same_python or all(math.isclose(a, b, rel_tol=0.05, abs_tol=0.05) for a, b in pairs)


def _numbers(text: str) -> list[float]:
    return [float(number.replace(",", "")) for number in NUMBER.findall(text)]


def main() -> int:
    """Run the demo, and compare or write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 if README.md is stale")
    args = parser.parse_args()
    readme = README.read_text(encoding="utf-8")
    block = BLOCK.search(readme)
    if block is None:
        print(f"{README}: no block for the output", file=sys.stderr)
        return 2
    printed = run_demo()
    python = platform.python_version()
    if args.check:
        if is_current(block["output"], printed, python.split(".")[:2] == block["python"].split(".")[:2]):
            return 0
        print("README.md shows another output of the demo: run python docs/update_readme.py", file=sys.stderr)
        return 1
    begin = block["begin"].replace(f"Python {block['python']}", f"Python {python}")
    README.write_text(
        readme[: block.start()] + begin + printed + block["end"] + readme[block.end() :], encoding="utf-8"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
