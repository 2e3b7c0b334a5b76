"""Bundles as zip files and addresses: unpacked once, pinned by their bytes, and never outside their folder."""

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


def pack(path, names, root="eval_bundle/"):
    with zipfile.ZipFile(path, "w") as packed:
        for name, text in names.items():
            packed.writestr(root + name, text)
    return path


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "bundle_cache", lambda: tmp_path / "cache")
    return tmp_path / "cache"


GOOD = {"core.yaml": "icl_tasks: []\n", "eval_data/a.jsonl": "{}\n"}


@pytest.mark.parametrize("root", ["", "eval_bundle/"])
def test_a_zip_file_is_unpacked_and_pinned_by_its_sha256(tmp_path, root):
    path = pack(tmp_path / "b.zip", GOOD, root)
    folder, content = archive.open_bundle(str(path))
    assert content == "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()
    assert {str(p.relative_to(folder)): p.read_text() for p in folder.rglob("*") if p.is_file()} == GOOD
    again, _ = archive.open_bundle(str(path))
    assert again == folder


def test_a_folder_is_taken_as_it_is(tmp_path):
    assert archive.open_bundle(str(tmp_path)) == (tmp_path, "folder")


@pytest.mark.parametrize("name", ["../evil.txt", "a/../../evil.txt", "/tmp/evil.txt", "a\\..\\evil.txt"])
def test_members_outside_the_folder_are_refused(tmp_path, cache, name):
    path = pack(tmp_path / "b.zip", {name: "x"}, root="")
    with pytest.raises(InputError, match="expected files inside the archive's folder"):
        archive.open_bundle(str(path))
    assert not list(tmp_path.rglob("evil.txt"))
    assert not list(cache.iterdir())


def test_links_are_refused(tmp_path):
    path = tmp_path / "b.zip"
    with zipfile.ZipFile(path, "w") as packed:
        link = zipfile.ZipInfo("core.yaml")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        packed.writestr(link, "/etc/passwd")
    with pytest.raises(InputError, match="expected files inside the archive's folder, got 'core.yaml'"):
        archive.open_bundle(str(path))


def test_an_archive_too_large_to_be_a_bundle_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "MAX_UNPACKED_BYTES", 10)
    with pytest.raises(InputError, match="too large to be one"):
        archive.open_bundle(str(pack(tmp_path / "b.zip", {"core.yaml": "x" * 11})))


def test_what_is_no_zip_file_is_refused(tmp_path):
    (tmp_path / "b.zip").write_text("no")
    with pytest.raises(InputError, match="expected a zip file, got"):
        archive.open_bundle(str(tmp_path / "b.zip"))
    with pytest.raises(InputError, match="expected a folder, a zip file or its https address"):
        archive.open_bundle(str(tmp_path / "gone"))


@pytest.fixture
def answers(monkeypatch):
    """What https addresses answer with, by address: content, or where they redirect to; and what was asked."""
    held, asked = {}, []

    def answer(self, request):
        asked.append(request.full_url)
        found = held.get(request.full_url)
        if found is None:
            raise URLError("refused")
        headers = Message()
        if isinstance(found, str):
            headers["Location"] = found
        made = addinfourl(io.BytesIO(b"" if isinstance(found, str) else found), headers, request.full_url)
        made.code, made.msg = (302, "Found") if isinstance(found, str) else (200, "OK")
        return made

    monkeypatch.setattr(archive.urllib.request.HTTPSHandler, "https_open", answer)
    return held, asked


def test_a_damaged_archive_is_refused(tmp_path, cache):
    path = tmp_path / "b.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("core.yaml", "x" * 1000)
    content = bytearray(path.read_bytes())
    content[40:46] = b"\xff" * 6
    path.write_bytes(content)
    with pytest.raises(InputError, match="expected a zip file, got"):
        archive.open_bundle(str(path))
    assert not list(cache.iterdir())


@pytest.mark.parametrize("address", ["https://[", "https://h:abc/x.zip", "https://127.0.0.1:9/x"])
def test_an_address_that_is_none_or_answers_nothing_is_refused(address):
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
def test_what_is_secret_in_an_address_is_never_said(answers, address, message):
    held, _ = answers
    held["https://example.org/b.zip?token=SECRET"] = b"no"
    held["https://example.org/http?SECRET"] = "http://example.org/b.zip?token=SECRET"
    held["https://example.org/s3?SECRET"] = "s3://example.org/b.zip?token=SECRET"
    with pytest.raises(InputError) as caught:
        archive.open_bundle(address)
    assert message in str(caught.value)
    assert "SECRET" not in str(caught.value)


def test_an_address_is_fetched_once(tmp_path, answers):
    held, asked = answers
    content = pack(tmp_path / "b.zip", GOOD).read_bytes()
    held["https://example.org/moved"] = "https://example.org/b.zip"
    held["https://example.org/b.zip"] = content
    first = archive.open_bundle("https://example.org/moved")
    assert archive.open_bundle("https://example.org/moved") == first
    assert asked == ["https://example.org/moved", "https://example.org/b.zip"]
    assert first[1] == "sha256:" + hashlib.sha256(content).hexdigest()
    assert (first[0] / "core.yaml").read_text() == GOOD["core.yaml"]


def test_only_https_is_fetched_and_followed(answers, monkeypatch):
    held, asked = answers
    for address in ("http://example.org/b.zip", "file:///etc/passwd"):
        with pytest.raises(InputError, match="expected an https address, got"):
            archive.open_bundle(address)
    held["https://example.org/b.zip"] = "http://example.org/elsewhere"
    monkeypatch.setattr(archive.urllib.request.HTTPHandler, "http_open", lambda self, request: asked.append("http"))
    with pytest.raises(InputError, match="to stay on https, got http://example.org/elsewhere"):
        archive.open_bundle("https://example.org/b.zip")
    assert asked == ["https://example.org/b.zip"]


def test_a_download_larger_than_a_bundle_stops(answers, monkeypatch):
    held, _ = answers
    held["https://example.org/b.zip"] = b"xxxx"
    monkeypatch.setattr(archive, "MAX_PACKED_BYTES", 3)
    with pytest.raises(InputError, match="expected at most 3 bytes"):
        archive.open_bundle("https://example.org/b.zip")
