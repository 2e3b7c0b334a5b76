"""The package under test is the wheel as installed, and it holds everything that is not code."""

from pathlib import Path

from hf_core_bpb.data import task_files as registry


def test_the_package_under_test_is_installed_not_the_checkout(package, pytestconfig):
    assert package.parent != pytestconfig.rootpath


def test_the_wheel_holds_the_task_files(package, pytestconfig):
    assert registry.tasks_folder() == package / "tasks"
    checkout = pytestconfig.rootpath / "tasks"
    files = {path.name: path.read_text() for path in (package / "tasks").iterdir()}
    assert files == {path.name: path.read_text() for path in checkout.iterdir()}
    assert all(Path(name).suffix == ".toml" for name in files)


def test_the_wheel_holds_the_demo_and_says_it_is_typed(package):
    assert {path.name for path in (package / "demo" / "model").iterdir()} == {
        "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
    }  # fmt: skip
    assert (package / "demo" / "scripts.txt").is_file()
    assert (package / "py.typed").is_file()
