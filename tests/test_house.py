"""Rules of the repository that no linter checks."""

import ast
import re
import shutil
import subprocess
from collections import Counter

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


def modules(package):
    """Yield each module's path within the package, and its syntax tree."""
    for path in sorted(package.rglob("*.py")):
        yield path.relative_to(package), ast.parse(path.read_text())


def strings(tree):
    """Yield the string constants of a module, without docstrings."""
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.lineno, node.value


# A reader of the library's errors may have called a function: they name an option as Python does, max_length.


def test_only_the_command_has_strings_that_begin_with_dashes(package):
    # YAML's --- is no option.
    pattern = re.compile(r"[\"']--(?!-)")
    paths = [path.relative_to(package) for path in sorted(package.rglob("*.py")) if pattern.search(path.read_text())]
    assert [path for path in paths if path.parts[0] != "cli"] == []


def test_only_the_command_names_options_with_dashes_inside_strings(package):
    found = [
        f"{path}:{line}: {text}"
        for path, tree in modules(package)
        if path.parts[0] != "cli"
        for line, text in strings(tree)
        if re.search(r"[\s(]--[a-z]", text) and "var(--" not in text
    ]
    assert found == []


def test_class_names_are_unique_in_the_package(package):
    names = Counter(
        node.name for _, tree in modules(package) for node in ast.walk(tree) if isinstance(node, ast.ClassDef)
    )
    assert [name for name, count in names.items() if count > 1] == []
