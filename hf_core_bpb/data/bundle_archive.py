"""Download and unpack CORE bundles given as a zip file or an https address; each is downloaded and unpacked once."""

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

# nanochat's bundle is 162 MB packed; these limits stop anything far larger before it fills the disk.
MAX_PACKED_BYTES = 2 * 1024**3
MAX_UNPACKED_BYTES = 8 * 1024**3
MAX_FILES = 10_000
_TIMEOUT_SECONDS = 60
_CHUNK_BYTES = 1024 * 1024


def bundle_cache() -> Path:
    """Return the folder of unpacked bundles, beside the Hub's cache."""
    from huggingface_hub.constants import HF_HOME

    return Path(HF_HOME) / "hf_core_bpb" / "bundles"


def open_bundle(source: str) -> tuple[Path, str]:
    """Return a bundle's folder and its digest: `sha256:...` of a zip file, `folder` for a folder.

    Raises:
        InputError: `source` is not a folder, a zip file or the https address of a zip file.
    """
    if "://" in source:
        return _open_address(source)
    path = Path(source)
    if path.is_dir():
        return path, "folder"
    if not path.is_file():
        raise InputError(f"`bundle`: expected a folder, a zip file or its https address, got {source!r}")
    return _unpack_once(path, source)


def _open_address(address: str) -> tuple[Path, str]:
    shown = _without_secrets(address)
    if not address.startswith("https://") or not address.isprintable() or " " in address:
        raise InputError(f"`bundle`: expected an https address, got {shown!r}")
    if "@" in address.split("/")[2]:
        raise InputError(f"`bundle`: expected an https address without user and password, got one for {shown}")
    record = bundle_cache() / "addresses" / hashlib.sha256(address.encode()).hexdigest()
    if record.is_file():
        sha256 = record.read_text().strip()
        if (bundle_cache() / sha256).is_dir():
            return _find_root(bundle_cache() / sha256), f"sha256:{sha256}"
    bundle_cache().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=bundle_cache()) as scratch:
        path = Path(scratch) / "bundle.zip"
        _download(address, path, shown)
        folder, digest = _unpack_once(path, shown)
        record.parent.mkdir(exist_ok=True)
        new_record = Path(scratch) / "record"
        new_record.write_text(digest.removeprefix("sha256:"))
        new_record.replace(record)
    return folder, digest


class _HttpsRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to https addresses and rejects all others."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        """Return the request for a redirect; raises InputError if its address is not https."""
        if not newurl.startswith("https://"):
            raise InputError(
                f"`bundle`: expected {_without_secrets(req.full_url)} to stay on https, got {_without_secrets(newurl)}"
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _without_secrets(address: str) -> str:
    """Return an address without parts that can be secret: user, password, query and fragment."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return address.partition("://")[0] + "://..."
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _download(address: str, path: Path, shown: str) -> None:
    try:
        request = urllib.request.Request(address, headers={"User-Agent": "hf_core_bpb"})  # noqa: S310 (https only)
        opener = urllib.request.build_opener(_HttpsRedirects)
        with opener.open(request, timeout=_TIMEOUT_SECONDS) as response, path.open("wb") as file:
            received = 0
            while chunk := response.read(_CHUNK_BYTES):
                received += len(chunk)
                if received > MAX_PACKED_BYTES:
                    raise InputError(f"`bundle`: expected at most {MAX_PACKED_BYTES} bytes, got more from {shown}")
                file.write(chunk)
    except InputError:
        raise
    except urllib.error.HTTPError as error:
        # The error's text can contain the address of a redirect, with its secrets.
        raise InputError(f"`bundle`: expected a zip file at {shown}, got: HTTP status {error.code}") from None
    except (http.client.HTTPException, OSError, ValueError) as error:
        raise InputError(f"`bundle`: expected a zip file at {shown}, got: {error}") from None


def _unpack_once(path: Path, name: str) -> tuple[Path, str]:
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    folder = bundle_cache() / sha256
    if not folder.is_dir():
        bundle_cache().mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=bundle_cache()))
        try:
            _unpack(path, scratch, name)
            scratch.rename(folder)
        except OSError:
            # Another process unpacked the same file first.
            if not folder.is_dir():
                raise
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return _find_root(folder), f"sha256:{sha256}"


def _unpack(path: Path, folder: Path, name: str) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            files = [info for info in archive.infolist() if not info.is_dir()]
            if len(files) > MAX_FILES or sum(info.file_size for info in files) > MAX_UNPACKED_BYTES:
                raise InputError(f"`bundle`: expected a CORE bundle, got an archive too large to be one: {name}")
            for info in files:
                _unpack_file(archive, info, folder, name)
    except InputError:
        raise
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError, ValueError, RuntimeError, EOFError) as error:
        raise InputError(f"`bundle`: expected a zip file, got {name}: {error}") from None


def _unpack_file(archive: zipfile.ZipFile, info: zipfile.ZipInfo, folder: Path, name: str) -> None:
    parts = PurePosixPath(info.filename).parts
    is_link = (info.external_attr >> 16) & 0o170000 == 0o120000
    if not parts or info.filename.startswith("/") or "\\" in info.filename or ".." in parts or is_link:
        raise InputError(f"`bundle`: expected files inside the archive's folder, got {info.filename!r} in {name}")
    target = folder.joinpath(*parts)
    target.parent.mkdir(parents=True, exist_ok=True)
    # zipfile reads at most the size in the header, so MAX_UNPACKED_BYTES holds.
    with archive.open(info) as packed, target.open("wb") as file:
        shutil.copyfileobj(packed, file, _CHUNK_BYTES)


def _find_root(folder: Path) -> Path:
    """Return the folder with core.yaml: the root of the archive, or the only subfolder that has one."""
    inner = sorted(path.parent for path in folder.glob("*/core.yaml"))
    return folder if (folder / "core.yaml").is_file() or len(inner) != 1 else inner[0]
