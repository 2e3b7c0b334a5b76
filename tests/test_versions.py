"""The oldest versions that are tested are the oldest that are allowed."""

import tomllib

from packaging.requirements import Requirement
from packaging.version import Version


def test_constraints_oldest_names_the_lower_bound_of_every_dependency(pytestconfig):
    project = tomllib.loads((pytestconfig.rootpath / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    lowest = {Requirement(one).name.lower(): Version(str(Requirement(one).specifier)[2:]) for one in wanted}
    lines = (pytestconfig.rootpath / "constraints-oldest.txt").read_text().splitlines()
    pinned = [line.split("==") for line in lines if not line.startswith("#")]
    assert {name.lower(): Version(version) for name, version in pinned} == lowest
