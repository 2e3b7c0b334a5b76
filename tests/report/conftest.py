import pytest

from hf_core_bpb.cli.main import main


@pytest.fixture(scope="session")
def demo_run(tmp_path_factory):
    """The output folder of the demo."""
    folder = tmp_path_factory.mktemp("report") / "out"
    assert main(["--output", str(folder), "--quiet"]) == 0
    return folder


@pytest.fixture(scope="session")
def demo_page(demo_run):
    """The page of the demo."""
    return (demo_run / "report.html").read_text()
