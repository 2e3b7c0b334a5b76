"""The oldest tested versions are the oldest allowed ones."""

import tomllib

from packaging.requirements import Requirement
from packaging.version import Version


def test_constraints_oldest_names_the_lower_bound_of_every_dependency(pytestconfig):
    project = tomllib.loads((pytestconfig.rootpath / "pyproject.toml").read_text())["project"]
    extras = [line for lines in project["optional-dependencies"].values() for line in lines]
    requirements = [Requirement(line) for line in [*project["dependencies"], *extras]]
    bounds = {requirement.name.lower(): Version(str(requirement.specifier)[2:]) for requirement in requirements}
    lines = (pytestconfig.rootpath / "constraints-oldest.txt").read_text().splitlines()
    pinned = [line.split("==") for line in lines if not line.startswith("#")]
    assert {name.lower(): Version(version) for name, version in pinned} == bounds
