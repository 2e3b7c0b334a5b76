"""The package under test is the installed wheel, with its data files."""

from pathlib import Path

from hf_core_bpb.data.task_files import tasks_folder


def test_the_package_under_test_is_not_the_checkout(package, pytestconfig):
    assert package.parent != pytestconfig.rootpath


def test_the_wheel_contains_the_task_files(package, pytestconfig):
    assert tasks_folder() == package / "tasks"
    checkout = pytestconfig.rootpath / "tasks"
    files = {path.name: path.read_text() for path in (package / "tasks").iterdir()}
    assert files == {path.name: path.read_text() for path in checkout.iterdir()}
    assert all(Path(name).suffix == ".toml" for name in files)


def test_the_wheel_contains_the_demo(package):
    assert {path.name for path in (package / "demo" / "model").iterdir()} == {
        "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
    }  # fmt: skip
    assert (package / "demo" / "scripts.txt").is_file()


def test_the_wheel_is_marked_as_typed(package):
    assert (package / "py.typed").is_file()
