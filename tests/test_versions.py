"""The oldest tested versions are the oldest allowed versions."""

import tomllib

from packaging.requirements import Requirement
from packaging.version import Version


def test_constraints_oldest_pins_the_lower_bound_of_every_dependency(pytestconfig):
    project = tomllib.loads((pytestconfig.rootpath / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    requirements = [Requirement(line) for lines in (project["dependencies"], *extras) for line in lines]
    lowest = {r.name.lower(): Version(str(r.specifier)[2:]) for r in requirements}
    lines = (pytestconfig.rootpath / "constraints-oldest.txt").read_text().splitlines()
    pinned = [line.split("==") for line in lines if not line.startswith("#")]
    assert {name.lower(): Version(version) for name, version in pinned} == lowest
