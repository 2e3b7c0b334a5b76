"""The package under test is the installed wheel, with all its data files."""

from hf_core_bpb.data import task_files


def test_the_package_under_test_is_installed_and_not_the_checkout(package, pytestconfig):
    assert package.parent != pytestconfig.rootpath


def test_tasks_are_read_from_the_wheel(package):
    assert task_files.tasks_folder() == package / "tasks"


def test_the_wheel_has_the_task_files_of_the_checkout(package, pytestconfig):
    files = {path.name: path.read_text() for path in (package / "tasks").iterdir()}
    assert files == {path.name: path.read_text() for path in (pytestconfig.rootpath / "tasks").iterdir()}


def test_the_task_folder_has_no_code(package):
    assert {path.suffix for path in (package / "tasks").iterdir()} == {".toml"}


def test_the_wheel_has_the_demo_model(package):
    assert {path.name for path in (package / "demo" / "model").iterdir()} == {
        "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
    }  # fmt: skip


def test_the_wheel_has_the_demo_text(package):
    assert (package / "demo" / "scripts.txt").is_file()


def test_the_wheel_is_typed(package):
    assert (package / "py.typed").is_file()
