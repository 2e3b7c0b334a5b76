import importlib.metadata

import pytest

import hf_core_bpb


def test_the_root_exports_these_names():
    assert sorted(hf_core_bpb.__all__) == [
        "BpbResult", "CoreBpbCallback", "CoreResult", "InputError", "RunError", "TokenBytes", "__version__",
        "bits_per_byte", "core_score", "evaluate_bpb", "evaluate_core", "fit_parametric", "metric_path", "token_bytes",
    ]  # fmt: skip


@pytest.mark.parametrize("name", hf_core_bpb.__all__)
def test_every_exported_name_resolves(name):
    assert getattr(hf_core_bpb, name) is not None


def test_an_unknown_name_raises_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'nope'"):
        hf_core_bpb.nope  # noqa: B018


def test_the_changelog_describes_this_version(pytestconfig):
    assert f"## [{hf_core_bpb.__version__}]" in (pytestconfig.rootpath / "CHANGELOG.md").read_text()


def test_the_installed_version_is_that_of_the_package():
    assert importlib.metadata.version("hf_core_bpb") == hf_core_bpb.__version__
