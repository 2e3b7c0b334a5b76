"""The table of `make test-mutants` matches the package, and its script reports what it should."""

import pytest
from support import mutants
from support.mutants import MUTANTS, CannotRunError, Mutant, replace_once

NAMES = [mutant.name for mutant in MUTANTS]


@pytest.mark.parametrize("mutant", MUTANTS, ids=NAMES)
def test_the_text_that_a_mutant_replaces_occurs_once(package, mutant):
    assert (package / mutant.file).read_text().count(mutant.old) == 1


@pytest.mark.parametrize("mutant", MUTANTS, ids=NAMES)
def test_the_tests_of_a_mutant_exist(pytestconfig, mutant):
    assert [path for path in mutant.tests if not (pytestconfig.rootpath / path).exists()] == []


@pytest.mark.parametrize("text", ["b", "aa"])
def test_a_text_that_does_not_occur_once_is_an_error(tmp_path, text):
    path = tmp_path / "module.py"
    path.write_text(text)
    with pytest.raises(CannotRunError, match="exactly once"):
        replace_once(path, "a", "c")


def test_a_replaced_text_is_changed_and_the_old_file_returned(tmp_path):
    path = tmp_path / "module.py"
    path.write_text("x = 1")
    assert (replace_once(path, "1", "2"), path.read_text()) == ("x = 1", "x = 2")


@pytest.fixture
def run_main(monkeypatch):
    """Run the script on one mutant whose tests all pass or fail."""
    monkeypatch.setattr(mutants, "MUTANTS", (Mutant("a name", "types.py", "import math", "import cmath", ()),))
    monkeypatch.setattr(mutants, "check_unchanged", lambda checkout: None)

    def run(failure):
        monkeypatch.setattr(mutants, "first_failure", lambda checkout, tests: failure)
        return mutants.main([])

    return run


def test_a_mutant_that_survives_exits_with_1(run_main, capsys):
    assert run_main(None) == 1
    assert "a name\n  SURVIVES\n0 of 1 mutants were noticed" in capsys.readouterr().out


def test_a_mutant_that_is_noticed_exits_with_0(run_main, capsys):
    assert run_main("tests/test_a.py::test_b") == 0
    assert "a name\n  tests/test_a.py::test_b\n1 of 1 mutants were noticed" in capsys.readouterr().out
