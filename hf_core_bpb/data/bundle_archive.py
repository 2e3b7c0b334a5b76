"""CORE bundles that come as a zip file or its https address: fetched once, unpacked safely, kept in the cache."""

import hashlib
import http.client
import lzma
import shutil
import tempfile
import urllib.error
import urllib.request
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from hf_core_bpb.errors import InputError

# nanochat's bundle is 162 MB packed; these bounds refuse what is no bundle before it fills the disk.
MAX_PACKED_BYTES = 2 * 1024**3
MAX_UNPACKED_BYTES = 8 * 1024**3
MAX_MEMBERS = 10_000
_TIMEOUT_SECONDS = 60
_CHUNK_BYTES = 1024 * 1024


def bundle_cache() -> Path:
    """Return the folder of unpacked bundles, beside the Hub's own cache."""
    from huggingface_hub.constants import HF_HOME

    return Path(HF_HOME) / "hf_core_bpb" / "bundles"


def open_bundle(place: str) -> tuple[Path, str]:
    """Return a bundle's folder and what pins its content: `folder`, or the zip file's sha256.

    Raises InputError for a place that is neither a folder, a zip file nor an https address of one.
    """
    if "://" in place:
        return _open_address(place)
    path = Path(place)
    if path.is_dir():
        return path, "folder"
    if not path.is_file():
        raise InputError(f"`bundle`: expected a folder, a zip file or its https address, got {place!r}")
    return _unpack_once(path, place)


def _open_address(address: str) -> tuple[Path, str]:
    shown = _without_secrets(address)
    if not address.startswith("https://") or not address.isprintable() or " " in address:
        raise InputError(f"`bundle`: expected an https address, got {shown!r}")
    if "@" in address.split("/")[2]:
        raise InputError(f"`bundle`: expected an https address without user and password, got one for {shown}")
    known = bundle_cache() / "addresses" / hashlib.sha256(address.encode()).hexdigest()
    if known.is_file():
        sha256 = known.read_text().strip()
        if (bundle_cache() / sha256).is_dir():
            return _root_of(bundle_cache() / sha256), f"sha256:{sha256}"
    bundle_cache().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=bundle_cache()) as scratch:
        path = Path(scratch) / "bundle.zip"
        _download(address, path, shown)
        folder, digest = _unpack_once(path, shown)
        known.parent.mkdir(exist_ok=True)
        noted = Path(scratch) / "noted"
        noted.write_text(digest.removeprefix("sha256:"))
        noted.replace(known)
    return folder, digest


class _OnlyHttps(urllib.request.HTTPRedirectHandler):
    """Follows redirects to https, and asks nothing of other places."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        """Return the request of the new place. Raises InputError for one that is not on https."""
        if not newurl.startswith("https://"):
            moved = _without_secrets(newurl)
            raise InputError(f"`bundle`: expected {_without_secrets(req.full_url)} to stay on https, got {moved}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _without_secrets(address: str) -> str:
    """Return an address without what people keep out of sight: user, password, and tokens after its path."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return address.partition("://")[0] + "://..."
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _download(address: str, path: Path, shown: str) -> None:
    try:
        request = urllib.request.Request(address, headers={"User-Agent": "hf_core_bpb"})  # noqa: S310 (https only)
        opener = urllib.request.build_opener(_OnlyHttps)
        with opener.open(request, timeout=_TIMEOUT_SECONDS) as answer, path.open("wb") as file:
            received = 0
            while chunk := answer.read(_CHUNK_BYTES):
                received += len(chunk)
                if received > MAX_PACKED_BYTES:
                    raise InputError(f"`bundle`: expected at most {MAX_PACKED_BYTES} bytes, got more from {shown}")
                file.write(chunk)
    except InputError:
        raise
    except urllib.error.HTTPError as error:
        # Its words may hold the address that was redirected to.
        raise InputError(f"`bundle`: expected a zip file at {shown}, got: HTTP status {error.code}") from None
    except (http.client.HTTPException, OSError, ValueError) as error:
        raise InputError(f"`bundle`: expected a zip file at {shown}, got: {error}") from None


def _unpack_once(path: Path, place: str) -> tuple[Path, str]:
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    folder = bundle_cache() / sha256
    if not folder.is_dir():
        bundle_cache().mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=bundle_cache()))
        try:
            _unpack(path, scratch, place)
            scratch.rename(folder)
        except OSError:
            # Another process was first: its folder holds the same bytes.
            if not folder.is_dir():
                raise
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return _root_of(folder), f"sha256:{sha256}"


def _unpack(path: Path, folder: Path, place: str) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            members = [info for info in archive.infolist() if not info.is_dir()]
            if len(members) > MAX_MEMBERS or sum(info.file_size for info in members) > MAX_UNPACKED_BYTES:
                raise InputError(f"`bundle`: expected a CORE bundle, got an archive too large to be one: {place}")
            for info in members:
                _unpack_member(archive, info, folder, place)
    except InputError:
        raise
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError, ValueError, RuntimeError, EOFError) as error:
        raise InputError(f"`bundle`: expected a zip file, got {place}: {error}") from None


def _unpack_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, folder: Path, place: str) -> None:
    parts = PurePosixPath(info.filename).parts
    is_link = (info.external_attr >> 16) & 0o170000 == 0o120000
    if not parts or info.filename.startswith("/") or "\\" in info.filename or ".." in parts or is_link:
        raise InputError(f"`bundle`: expected files inside the archive's folder, got {info.filename!r} in {place}")
    target = folder.joinpath(*parts)
    target.parent.mkdir(parents=True, exist_ok=True)
    # zipfile reads no more of a member than its header promised, so the bound above holds.
    with archive.open(info) as packed, target.open("wb") as file:
        shutil.copyfileobj(packed, file, _CHUNK_BYTES)


def _root_of(folder: Path) -> Path:
    """Return the folder that holds core.yaml: the archive's own, or the only one in it."""
    inner = sorted(path.parent for path in folder.glob("*/core.yaml"))
    return folder if (folder / "core.yaml").is_file() or len(inner) != 1 else inner[0]
