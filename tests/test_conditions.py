"""The table in docs/guarantees.md."""

import re


def test_every_guarantee_names_existing_tests(pytestconfig):
    root = pytestconfig.rootpath
    existing = set(
        re.findall(r"^def (test_\w+)", "".join(p.read_text() for p in root.glob("tests/**/test_*.py")), re.MULTILINE)
    )
    rows = [line for line in (root / "docs" / "guarantees.md").read_text().splitlines() if line.startswith("| ")][1:]
    cases = [row for row in rows if not row.startswith("| **")]
    assert len(cases) > 40
    for row in cases:
        named = re.findall(r"`(test_\w+)`", row)
        assert named, row
        assert set(named) <= existing, row
