"""Change the package in small ways, one at a time, and check that a fast test fails for each.

    python tests/support/mutants.py [NAME...]

Works on copies of the checkout in a temporary folder, without the data folder beside it. Exits with 1 where a mutant
survives, and with 2 where a text to replace does not occur exactly once or the tests cannot be run.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

CHECKOUT = Path(__file__).resolve().parents[2]
AT_ONCE = 2
# What the tests read of the checkout.
COPIED = ("hf_core_bpb", "tasks", "tests", "examples", "docs", "README.md", "CHANGELOG.md", "pyproject.toml")
PASSED, FAILED = 0, 1


@dataclass(frozen=True)
class Mutant:
    """A change that makes numbers wrong, and the tests that should notice it."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


PROTOCOLS = ("tests/protocols", "tests/evaluation/test_golden_demo.py")
METRICS = ("tests/metrics/test_decision.py", "tests/evaluation/test_core.py")
TOKENIZATION = ("tests/tokenization", "tests/evaluation/test_bpb.py")
BATCHES = (
    "tests/evaluation/test_targets_of_id_zero.py",
    "tests/evaluation/test_pairs_that_are_not_shifts.py",
    "tests/evaluation/test_token_batches.py",
)

MUTANTS = (
    Mutant(
        "multiple choice: the span starts one token late",
        "protocols/spans.py",
        "start = min(common_prefix(sequences), shortest - 1)",
        "start = min(common_prefix(sequences) + 1, shortest - 1)",
        PROTOCOLS,
    ),
    Mutant(
        "schema: the span starts one token early",
        "protocols/spans.py",
        "len(ids) - max(shared, 1) for ids",
        "len(ids) - max(shared + 1, 1) for ids",
        PROTOCOLS,
    ),
    Mutant(
        "language modeling: the span starts one token early",
        "protocols/spans.py",
        "return [min(common_prefix(sequences), len(sequences[-1]) - 1)]",
        "return [min(common_prefix(sequences), len(sequences[-1]) - 1) - 1]",
        PROTOCOLS,
    ),
    Mutant(
        "truncation cuts off the right end",
        "protocols/spans.py",
        "return ids[cut:], max(start - cut, 1)",
        "return ids[: len(ids) - cut], max(start - cut, 1)",
        PROTOCOLS,
    ),
    Mutant(
        "nanochat: another shuffle seed",
        "protocols/nanochat.py",
        "SHUFFLE_SEED = 1337",
        "SHUFFLE_SEED = 1338",
        PROTOCOLS,
    ),
    Mutant(
        "nanochat: another shot seed",
        "protocols/nanochat.py",
        "SHOT_SEED = 1234",
        "SHOT_SEED = 1235",
        PROTOCOLS,
    ),
    Mutant(
        "nanochat: the item is among its own shots",
        "protocols/nanochat.py",
        "number if number < index else number + 1",
        "number",
        PROTOCOLS,
    ),
    Mutant(
        "dclm: another shot seed",
        "protocols/dclm.py",
        "SHOT_SEED = 1234",
        "SHOT_SEED = 1235",
        PROTOCOLS,
    ),
    Mutant(
        "dclm: truncation cuts off the right end",
        "protocols/dclm.py",
        "context[len(context) - room :]",
        "context[:room]",
        PROTOCOLS,
    ),
    Mutant(
        "decision: the lowest sum of nats wins, not the lowest mean",
        "metrics/decision.py",
        'prediction = choose(options, "token")',
        'prediction = choose(options, "sum")',
        METRICS,
    ),
    Mutant(
        "decision: the last of equal options wins",
        "metrics/decision.py",
        "return losses.index(min(losses))",
        "return len(losses) - 1 - losses[::-1].index(min(losses))",
        METRICS,
    ),
    Mutant(
        "centering: not divided by what is left above the baseline",
        "metrics/centering.py",
        "return (accuracy - baseline) / (1 - baseline)",
        "return accuracy - baseline",
        METRICS,
    ),
    Mutant(
        "bits per byte: the logarithm of 10 in place of 2",
        "types.py",
        "return self.total_nats / (math.log(2) * self.num_bytes)",
        "return self.total_nats / (math.log(10) * self.num_bytes)",
        ("tests/evaluation/test_bpb.py",),
    ),
    Mutant(
        "token bytes: special tokens have the bytes of their names",
        "tokenization/token_bytes.py",
        "        num_bytes_V[token_id] = 0\n",
        "",
        TOKENIZATION,
    ),
    Mutant(
        "token bytes: the space in front of a text is counted",
        "tokenization/token_bytes.py",
        "starts.astype(np.int64) * self.dummy_prefix_bytes",
        "starts.astype(np.int64) * 0",
        (*TOKENIZATION, *BATCHES),
    ),
    Mutant(
        "first token: a prompt begins without BOS",
        "tokenization/encode.py",
        "prefix = np.array([] if first is None else [first], dtype=np.int32)",
        "prefix = np.array([], dtype=np.int32)",
        PROTOCOLS,
    ),
    Mutant(
        "first token: a document begins without BOS",
        "tokenization/windows.py",
        "prefix = np.array([] if first is None else [first], dtype=np.int32)",
        "prefix = np.array([], dtype=np.int32)",
        (*TOKENIZATION, "tests/evaluation/test_golden_demo.py"),
    ),
    Mutant(
        "first token: a window lacks the token before its first target",
        "tokenization/windows.py",
        "yield max(0, end - windows.max_length - 1), scored, end",
        "yield max(0, end - windows.max_length), scored, end",
        (*TOKENIZATION, "tests/evaluation/test_golden_demo.py"),
    ),
    Mutant(
        "batches: targets of id 0 are left out",
        "tokenization/token_rows.py",
        "return (y_BxT >= 0)",
        "return (y_BxT > 0)",
        BATCHES,
    ),
    Mutant(
        "batches: targets that are not the next inputs are scored as if they were",
        "tokenization/token_rows.py",
        "return bool((y_T[:-1] == x_T[1:])[marks_T[:-1]].all())",
        "return True",
        BATCHES,
    ),
)


class CannotRunError(Exception):
    """The tests say nothing about a mutant."""


def copy_checkout(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for name in COPIED:
        source = CHECKOUT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder)
    return folder


def replace_once(path: Path, old: str, new: str) -> str:
    """Replace the only occurrence of a text in a file, and return what the file was."""
    before = path.read_text()
    if before.count(old) != 1:
        raise CannotRunError(f"{path.name}: expected {old!r} exactly once, got {before.count(old)} times")
    path.write_text(before.replace(old, new))
    return before


def first_failure(checkout: Path, tests: Sequence[str], *options: str) -> str | None:
    """Return the first fast test that fails in a checkout, None where all pass."""
    # Without bytecode: a change within a second that keeps a file's size would not be read.
    environment = os.environ | {"PYTHONPATH": str(checkout), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    program = str(Path(sys.executable).with_name("pytest"))
    finished = subprocess.run(
        [program, "-q", "-x", "-p", "no:cacheprovider", "-m", "not slow", *options, *tests],
        cwd=checkout, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    failures = re.findall(r"^(?:FAILED|ERROR) (.+?)(?: - |$)", finished.stdout, re.MULTILINE)
    if finished.returncode == FAILED and failures:
        return failures[0]
    if finished.returncode == PASSED:
        return None
    raise CannotRunError(f"pytest exited with {finished.returncode}:\n{finished.stdout}")


def try_out(mutant: Mutant, checkout: Path) -> str | None:
    """Return the test that notices a mutant, None where none does."""
    path = checkout / "hf_core_bpb" / mutant.file
    before = replace_once(path, mutant.old, mutant.new)
    try:
        return first_failure(checkout, mutant.tests)
    finally:
        path.write_text(before)


def check_unchanged(checkout: Path) -> None:
    """Raise CannotRunError where a test fails without any mutant."""
    tests = sorted({test for mutant in MUTANTS for test in mutant.tests})
    failure = first_failure(checkout, tests, "--numprocesses", str(AT_ONCE))
    if failure is not None:
        raise CannotRunError(f"expected all tests to pass without a mutant, got a failure of {failure}")


def run(mutants: Sequence[Mutant]) -> int:
    """Try all mutants out, print the test that notices each, and return the number of survivors."""
    with tempfile.TemporaryDirectory(prefix="hf_core_bpb-mutants-") as folder:
        checkouts: SimpleQueue[Path] = SimpleQueue()
        for number in range(AT_ONCE):
            checkouts.put(copy_checkout(Path(folder) / str(number) / "checkout"))

        def survives(mutant: Mutant) -> bool:
            checkout = checkouts.get()
            try:
                failure = try_out(mutant, checkout)
            finally:
                checkouts.put(checkout)
            print(f"{mutant.name}\n  {failure or 'SURVIVES'}", flush=True)
            return failure is None

        check_unchanged(Path(folder) / "0" / "checkout")
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return sum(pool.map(survives, mutants))


def main(names: Sequence[str]) -> int:
    mutants = [mutant for mutant in MUTANTS if not names or any(name in mutant.name for name in names)]
    try:
        survivors = run(mutants)
    except CannotRunError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{len(mutants) - survivors} of {len(mutants)} mutants were noticed")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
