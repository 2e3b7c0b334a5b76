"""A Hugging Face Hub on loopback that reads and writes `datasets/<id>/`, `models/<id>/` and `spaces/<id>/`."""

import base64
import json
import threading
import time
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

COMMIT = "5" * 40
REVISIONS = {"main": COMMIT, "earlier": "6" * 40}


def commit_of(revision: str) -> str | None:
    """Return the commit of a revision: of a known branch, or the revision itself if it is a commit."""
    return revision if len(revision) == 40 else REVISIONS.get(revision)


class LoopbackHub:
    """A server on a free port.

    failures: how many of the next requests to answer with 503. stalls: how many to answer two seconds late. cuts: how
    many file downloads to end in the middle. gated: repositories without access. moved: the commit of `main` by
    repository, if it is not COMMIT.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.failures = self.stalls = self.cuts = 0
        self.gated: set[str] = set()
        self.moved: dict[str, str] = {}
        self.requests: list[str] = []
        self.created: list[dict[str, str]] = []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                """Keep the tests' output clean."""

            def do_GET(self):
                hub.answer(self)

            do_HEAD = do_POST = do_GET

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("content-length") or 0))
        path = unquote(urlsplit(handler.path).path).strip("/")
        self.requests.append(f"{handler.command} {path}")
        if self.stalls > 0:
            self.stalls -= 1
            time.sleep(2)
        if self.failures > 0:
            self.failures -= 1
            send(handler, 503, b"")
        elif any(f"{repo}/" in f"{path}/" for repo in self.gated):
            send(handler, 403, b"", {"x-error-code": "GatedRepo", "x-error-message": "Access is restricted."})
        elif path.startswith("api/"):
            self.answer_api(handler, path.removeprefix("api/"), body)
        elif "/resolve/" in path:
            repo, _, rest = path.partition("/resolve/")
            kind = "" if repo.startswith("datasets/") else "models/"
            revision, _, name = rest.partition("/")
            if (self.root / (kind + repo)).is_dir():
                self.send_file(handler, self.root / (kind + repo) / name, self.commit_of(repo, revision))
            else:
                send(handler, 404, b"", {"x-error-code": "RepoNotFound"})
        else:
            send(handler, 404, b"", {"x-error-code": "EntryNotFound"})

    def commit_of(self, repo: str, revision: str) -> str | None:
        return self.moved.get(repo, COMMIT) if revision == "main" else commit_of(revision)

    def answer_api(self, handler: BaseHTTPRequestHandler, path: str, body: bytes) -> None:
        if path == "validate-yaml":
            return send_json(handler, {"errors": [], "warnings": []})
        if path == "repos/create":
            return self.create(handler, json.loads(body))
        kind, _, rest = path.partition("/")
        repo, verb, argument = rest, "", ""
        for word in ("revision", "tree", "paths-info", "preupload", "commit"):
            if f"/{word}/" in rest:
                repo, _, argument = rest.partition(f"/{word}/")
                verb = word
        folder = self.root / kind / repo
        if kind not in ("datasets", "models", "spaces") or not folder.is_dir() or repo.count("/") > 1:
            return send(handler, 404, b"", {"x-error-code": "RepoNotFound"})
        commit = self.commit_of(repo, argument.partition("/")[0] if verb else "main")
        if commit is None:
            return send(handler, 404, b"", {"x-error-code": "RevisionNotFound"})
        if verb == "preupload":
            wanted = [file["path"] for file in json.loads(body)["files"]]
            plain = {"uploadMode": "regular", "shouldIgnore": False, "oid": None}
            return send_json(handler, {"files": [{"path": name, **plain} for name in wanted]})
        if verb == "commit":
            return self.commit(handler, folder, body)
        names = sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
        if verb == "tree":
            inside = argument.partition("/")[2]
            entries = [describe(folder, name) for name in names if not inside or name.startswith(inside + "/")]
            folders = {str(Path(entry["path"]).parent) for entry in entries} - {".", inside}
            entries += [{"type": "directory", "oid": COMMIT, "size": 0, "path": name} for name in sorted(folders)]
            if inside and not entries:
                return send(handler, 404, b"", {"x-error-code": "EntryNotFound"})
            return send_json(handler, entries)
        if verb == "paths-info":
            wanted = json.loads(body)["paths"]
            return send_json(handler, [describe(folder, name) for name in names if name in wanted])
        facts = {"id": repo, "sha": commit, "private": False, "gated": False, "disabled": False, "tags": []}
        siblings = [{"rfilename": name} for name in names]
        dates = dict.fromkeys(("createdAt", "lastModified"), "2026-01-01T00:00:00.000Z")
        return send_json(handler, {**facts, **dates, "downloads": 0, "likes": 0, "siblings": siblings})

    def create(self, handler: BaseHTTPRequestHandler, wanted: dict[str, str]) -> None:
        """Create a repository; an existing one is a conflict, as on the Hub."""
        name = "/".join(filter(None, (wanted.get("organization"), wanted["name"])))
        kind = wanted.get("type", "model") + "s"
        folder = self.root / kind / name
        url = f"{self.endpoint}/{kind}/{name}"
        if folder.is_dir():
            return send_json(handler, {"error": "You already created this repo", "url": url}, 409)
        folder.mkdir(parents=True)
        self.created.append(wanted)
        return send_json(handler, {"url": url, "name": name})

    def commit(self, handler: BaseHTTPRequestHandler, folder: Path, body: bytes) -> None:
        """Write the files of a commit, whose lines are a header, files and deletions."""
        for line in body.splitlines():
            entry = json.loads(line)
            if entry["key"] == "file":
                path = folder / entry["value"]["path"]
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(base64.b64decode(entry["value"]["content"]))
        url = f"{self.endpoint}/{folder.relative_to(self.root)}/commit/{COMMIT}"
        send_json(handler, {"success": True, "commitOid": COMMIT, "commitUrl": url})

    def send_file(self, handler: BaseHTTPRequestHandler, path: Path, commit: str | None) -> None:
        if commit is None:
            return send(handler, 404, b"", {"x-error-code": "RevisionNotFound"})
        if not path.is_file():
            return send(handler, 404, b"", {"x-error-code": "EntryNotFound"})
        content = path.read_bytes()
        headers = {"etag": f'"{sha1(content).hexdigest()}"', "x-repo-commit": commit, "accept-ranges": "bytes"}
        byte_range = handler.headers.get("range")
        if byte_range is None:
            if self.cuts > 0 and handler.command == "GET":
                self.cuts -= 1
                return send_half(handler, content, headers)
            return send(handler, 200, content, headers)
        first, last = byte_range.removeprefix("bytes=").split("-")
        end = int(last) + 1 if last else len(content)
        headers["content-range"] = f"bytes {first}-{end - 1}/{len(content)}"
        return send(handler, 206, content[int(first) : end], headers)


def describe(folder: Path, name: str) -> dict[str, object]:
    content = (folder / name).read_bytes()
    blob = sha1(b"blob %d\0" % len(content) + content).hexdigest()
    return {"type": "file", "oid": blob, "size": len(content), "path": name}


def send_json(handler: BaseHTTPRequestHandler, value: object, status: int = 200) -> None:
    send(handler, status, json.dumps(value).encode(), {"content-type": "application/json"})


def send_half(handler: BaseHTTPRequestHandler, content: bytes, headers: dict[str, str]) -> None:
    """Send the headers of the whole content and half of it, and close the connection."""
    handler.send_response(200)
    for key, value in {**headers, "content-length": str(len(content))}.items():
        handler.send_header(key, value)
    handler.end_headers()
    handler.wfile.write(content[: len(content) // 2])
    handler.wfile.flush()
    handler.close_connection = True


def send(handler: BaseHTTPRequestHandler, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
    handler.send_response(status)
    for key, value in (headers or {}).items():
        handler.send_header(key, value)
    handler.send_header("content-length", str(len(content)))
    handler.end_headers()
    if handler.command != "HEAD":
        handler.wfile.write(content)
