"""Rules of the repository that no linter checks."""

import ast
import re
import shutil
import subprocess

import pytest

# Longer subjects than the limit are older than this commit.
LAST_UNCHECKED_COMMIT = "fd73bace2f5fd42fe75704a48cbd79599ca64b88"
MAX_SUBJECT_LENGTH = 72


def imported_names(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_no_test_module_imports_another(pytestconfig):
    tests = sorted((pytestconfig.rootpath / "tests").rglob("test_*.py"))
    pattern = re.compile(r"(^|\.)(test_\w+|conftest)(\.|$)|^\.|^tests(\.|$)")
    imports = [f"{path.name}: {name}" for path in tests for name in imported_names(path) if pattern.search(name)]
    assert imports == []


def git(folder, *arguments):
    return subprocess.run([shutil.which("git"), "-C", str(folder), *arguments], capture_output=True, text=True)


@pytest.fixture
def subjects(pytestconfig):
    """The subjects of the commits since the limit on their length."""
    root = pytestconfig.rootpath
    if shutil.which("git") is None or not (root / ".git").exists():
        pytest.skip("needs a git checkout")
    log = git(root, "log", "--format=%s", f"{LAST_UNCHECKED_COMMIT}..HEAD")
    if log.returncode:
        pytest.skip("needs a checkout with history")
    return log.stdout.splitlines()


def test_commit_subjects_are_short(subjects):
    assert [subject for subject in subjects if len(subject) > MAX_SUBJECT_LENGTH] == []
