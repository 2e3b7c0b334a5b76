"""Bundles as zip files and addresses: unpacked once, identified by their sha256, safe to unpack."""

import hashlib
import io
import stat
import zipfile
from email.message import Message
from urllib.error import URLError
from urllib.response import addinfourl

import pytest

from hf_core_bpb.data import bundle_archive as archive
from hf_core_bpb.errors import InputError


def write_zip(path, files, root="eval_bundle/"):
    with zipfile.ZipFile(path, "w") as archive_file:
        for name, text in files.items():
            archive_file.writestr(root + name, text)
    return path


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "bundle_cache", lambda: tmp_path / "cache")
    return tmp_path / "cache"


FILES = {"core.yaml": "icl_tasks: []\n", "eval_data/a.jsonl": "{}\n"}


@pytest.mark.parametrize("root", ["", "eval_bundle/"])
def test_a_zip_file_is_unpacked_and_identified_by_its_sha256(tmp_path, root):
    path = write_zip(tmp_path / "b.zip", FILES, root)
    folder, digest = archive.open_bundle(str(path))
    assert digest == "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()
    assert {str(p.relative_to(folder)): p.read_text() for p in folder.rglob("*") if p.is_file()} == FILES


def test_a_zip_file_is_unpacked_once(tmp_path, monkeypatch):
    path = write_zip(tmp_path / "b.zip", FILES)
    first = archive.open_bundle(str(path))
    monkeypatch.delattr(archive, "_unpack")
    assert archive.open_bundle(str(path)) == first


def test_a_folder_is_read_in_place(tmp_path):
    assert archive.open_bundle(str(tmp_path)) == (tmp_path, "folder")


@pytest.mark.parametrize("name", ["../evil.txt", "a/../../evil.txt", "/tmp/evil.txt", "a\\..\\evil.txt"])
def test_an_archive_with_a_file_outside_its_folder_is_rejected(tmp_path, cache, name):
    path = write_zip(tmp_path / "b.zip", {name: "x"}, root="")
    with pytest.raises(InputError, match="expected files inside the archive's folder"):
        archive.open_bundle(str(path))
    assert not list(tmp_path.rglob("evil.txt"))
    assert not list(cache.iterdir())


def test_an_archive_with_a_link_is_rejected(tmp_path):
    path = tmp_path / "b.zip"
    with zipfile.ZipFile(path, "w") as archive_file:
        link = zipfile.ZipInfo("core.yaml")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive_file.writestr(link, "/etc/passwd")
    with pytest.raises(InputError, match="expected files inside the archive's folder, got 'core.yaml'"):
        archive.open_bundle(str(path))


def test_an_archive_too_large_for_a_bundle_is_rejected(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "MAX_UNPACKED_BYTES", 10)
    with pytest.raises(InputError, match="too large to be one"):
        archive.open_bundle(str(write_zip(tmp_path / "b.zip", {"core.yaml": "x" * 11})))


def test_a_file_that_is_not_a_zip_file_is_rejected(tmp_path):
    (tmp_path / "b.zip").write_text("no")
    with pytest.raises(InputError, match="expected a zip file, got"):
        archive.open_bundle(str(tmp_path / "b.zip"))


def test_a_missing_path_is_rejected(tmp_path):
    with pytest.raises(InputError, match="expected a folder, a zip file or its https address"):
        archive.open_bundle(str(tmp_path / "missing"))


@pytest.fixture
def site(monkeypatch):
    """Replaces https: `contents` by address (bytes, or the address of a redirect), and the requested addresses."""
    contents, requested = {}, []

    def respond(self, request):
        requested.append(request.full_url)
        content = contents.get(request.full_url)
        if content is None:
            raise URLError("refused")
        headers = Message()
        if isinstance(content, str):
            headers["Location"] = content
        response = addinfourl(io.BytesIO(b"" if isinstance(content, str) else content), headers, request.full_url)
        response.code, response.msg = (302, "Found") if isinstance(content, str) else (200, "OK")
        return response

    monkeypatch.setattr(archive.urllib.request.HTTPSHandler, "https_open", respond)
    return contents, requested


def test_a_damaged_archive_is_rejected(tmp_path, cache):
    path = tmp_path / "b.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive_file:
        archive_file.writestr("core.yaml", "x" * 1000)
    content = bytearray(path.read_bytes())
    content[40:46] = b"\xff" * 6
    path.write_bytes(content)
    with pytest.raises(InputError, match="expected a zip file, got"):
        archive.open_bundle(str(path))
    assert not list(cache.iterdir())


@pytest.mark.parametrize("address", ["https://[", "https://h:abc/x.zip", "https://127.0.0.1:9/x"])
def test_an_address_that_is_invalid_or_unreachable_is_rejected(address):
    with pytest.raises(InputError, match="expected a zip file at https"):
        archive.open_bundle(address)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        (
            "https://me:SECRET@example.org/b.zip",
            "an https address without user and password, got one for https://example",
        ),
        ("http://me:SECRET@example.org/b.zip?SECRET", "expected an https address, got 'http://example.org/b.zip'"),
        ("https://example.org/b .zip?token=SECRET", "expected an https address, got 'https://example.org/b .zip'"),
        ("https://example.org/b.zip\n?token=SECRET", "expected an https address, got"),
        ("https://127.0.0.1:9/b.zip?token=SECRET#SECRET", "expected a zip file at https://127.0.0.1:9/b.zip, got"),
        ("https://[x]/?SECRET", "https://..."),
        ("https://example.org/http?SECRET", "to stay on https, got http://example.org/b.zip"),
        ("https://example.org/s3?SECRET", "expected a zip file at https://example.org/s3, got: HTTP status 302"),
        ("https://example.org/b.zip?token=SECRET", "expected a zip file, got https://example.org/b.zip: File is not"),
    ],
)
def test_secrets_in_an_address_are_never_printed(site, address, message):
    contents, _ = site
    contents["https://example.org/b.zip?token=SECRET"] = b"no"
    contents["https://example.org/http?SECRET"] = "http://example.org/b.zip?token=SECRET"
    contents["https://example.org/s3?SECRET"] = "s3://example.org/b.zip?token=SECRET"
    with pytest.raises(InputError) as caught:
        archive.open_bundle(address)
    assert message in str(caught.value)
    assert "SECRET" not in str(caught.value)


def test_an_address_is_downloaded_once(tmp_path, site):
    contents, requested = site
    content = write_zip(tmp_path / "b.zip", FILES).read_bytes()
    contents["https://example.org/moved"] = "https://example.org/b.zip"
    contents["https://example.org/b.zip"] = content
    first = archive.open_bundle("https://example.org/moved")
    assert archive.open_bundle("https://example.org/moved") == first
    assert requested == ["https://example.org/moved", "https://example.org/b.zip"]
    assert first[1] == "sha256:" + hashlib.sha256(content).hexdigest()
    assert (first[0] / "core.yaml").read_text() == FILES["core.yaml"]


@pytest.mark.parametrize("address", ["http://example.org/b.zip", "file:///etc/passwd"])
def test_an_address_that_is_not_https_is_rejected(site, address):
    with pytest.raises(InputError, match="expected an https address, got"):
        archive.open_bundle(address)
    assert site[1] == []


def test_a_redirect_to_http_is_rejected_without_a_request(site, monkeypatch):
    contents, requested = site
    contents["https://example.org/b.zip"] = "http://example.org/elsewhere"
    monkeypatch.setattr(archive.urllib.request.HTTPHandler, "http_open", lambda self, request: requested.append("http"))
    with pytest.raises(InputError, match="to stay on https, got http://example.org/elsewhere"):
        archive.open_bundle("https://example.org/b.zip")
    assert requested == ["https://example.org/b.zip"]


def test_a_download_too_large_for_a_bundle_stops(site, monkeypatch):
    contents, _ = site
    contents["https://example.org/b.zip"] = b"xxxx"
    monkeypatch.setattr(archive, "MAX_PACKED_BYTES", 3)
    with pytest.raises(InputError, match="expected at most 3 bytes"):
        archive.open_bundle("https://example.org/b.zip")
