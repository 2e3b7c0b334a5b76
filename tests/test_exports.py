"""The names that the package exports, and its version."""

import importlib

import pytest

import hf_core_bpb


def test_the_root_exports_the_public_names():
    assert sorted(hf_core_bpb.__all__) == [
        "BpbResult", "CoreBpbCallback", "CoreResult", "InputError", "RunError", "TokenBytes", "__version__",
        "bits_per_byte", "evaluate_bpb", "evaluate_core", "fit_parametric", "metric_path", "token_bytes",
    ]  # fmt: skip
    for name in hf_core_bpb.__all__:
        assert getattr(hf_core_bpb, name) is not None


def test_an_unknown_name_raises_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'nope'"):
        hf_core_bpb.nope  # noqa: B018


def test_the_changelog_has_the_installed_version(pytestconfig):
    changelog = (pytestconfig.rootpath / "CHANGELOG.md").read_text()
    assert f"## [{importlib.metadata.version('hf_core_bpb')}]" in changelog


def test_the_version_is_the_installed_version():
    assert importlib.metadata.version("hf_core_bpb") == hf_core_bpb.__version__
