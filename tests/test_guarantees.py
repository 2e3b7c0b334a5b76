"""The table of guarantees names tests that exist."""

import re

import pytest


@pytest.fixture
def guarantees(pytestconfig):
    """The rows of the table, each with the tests that it names."""
    lines = (pytestconfig.rootpath / "docs" / "guarantees.md").read_text().splitlines()
    rows = [line for line in lines if line.startswith("| ")][1:]
    return {row: set(re.findall(r"`(test_\w+)`", row)) for row in rows if not row.startswith("| **")}


def test_the_table_of_guarantees_is_read(guarantees):
    assert len(guarantees) > 40


def test_every_guarantee_names_a_test(guarantees):
    assert [row for row, names in guarantees.items() if not names] == []


def test_the_tests_that_guarantees_name_exist(guarantees, pytestconfig):
    sources = "".join(path.read_text() for path in pytestconfig.rootpath.glob("tests/**/test_*.py"))
    existing = set(re.findall(r"^def (test_\w+)", sources, re.MULTILINE))
    assert {row: names - existing for row, names in guarantees.items() if names - existing} == {}
