"""A hub on this host: repositories with commits and branches, as the hub's libraries ask for them.

Only what they use is spoken: information on a repository, its tree, and files by HEAD, GET and
ranges. Every request is noted.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

Files = dict[str, bytes]
_CHUNK = 1 << 16


def etag_of(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()  # noqa: S324 - as git names a file


@dataclass
class Repository:
    """Commits, newest last, and who may have the files.

    Attributes:
        commits: files of each.
        branches: commit of each.
        token: that is asked for; None: everyone may have them.
        code: of the error for those who may not.
    """

    commits: dict[str, Files] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    token: str | None = None
    code: str = "GatedRepo"

    def commit(self, files: Files, branch: str = "main") -> str:
        name = hashlib.sha1(f"{len(self.commits)} {sorted(files)}".encode()).hexdigest()  # noqa: S324
        self.commits[name] = files
        self.branches[branch] = name
        return name


@dataclass(frozen=True)
class Request:
    client: str
    method: str
    path: str
    authorization: str | None


@dataclass
class Hub:
    """The server.

    Attributes:
        repositories: by kind and name, "models/acme/tiny".
        requests: in their order.
        sent: bytes of each file that were sent to each host.
        slow: seconds between two pieces of a file of more than one.
        understates: files are said to have no bytes in lists of them.
    """

    repositories: dict[str, Repository] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    sent: dict[tuple[str, str], int] = field(default_factory=dict)
    slow: float = 0.0
    understates: bool = False
    url: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, name: str, files: Files) -> str:
        return self.repositories.setdefault(name, Repository()).commit(files)

    def downloads(self, client: str) -> list[str]:
        """Files that a host asked for, each time that it did."""
        return sorted(
            one.path.rpartition("/")[2]
            for one in self.requests
            if one.client == client and one.method == "GET" and "/resolve/" in one.path
        )

    def forget(self) -> None:
        self.requests.clear()
        self.sent.clear()

    @contextmanager
    def serving(self, address: str) -> Iterator[Hub]:
        hub = self

        class Handler(_Handler):
            served = hub

        server = ThreadingHTTPServer((address, 0), Handler)
        server.daemon_threads = True
        self.url = f"http://{address}:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


def files_of(folder: Path) -> Files:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    served: Hub

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def log_message(self, *words: object) -> None:
        """Nothing on the terminal."""

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path).strip("/")
        asked = Request(
            self.client_address[0], self.command, path, self.headers.get("authorization")
        )
        self.body = self.rfile.read(int(self.headers.get("content-length") or 0))
        self.served.requests.append(asked)
        words = path.split("/")
        if words[0] == "api" and len(words) >= 4:
            self._api("/".join(words[1:4]), words[4:])
        elif "resolve" in words:
            place = words.index("resolve")
            name = "/".join(words[:place])
            kind = "" if name.startswith("datasets/") else "models/"
            self._file(kind + name, words[place + 1], "/".join(words[place + 2 :]))
        else:
            self._fail(404, "")

    def _fail(self, status: int, code: str) -> None:
        self._send(status, b"", {"X-Error-Code": code, "X-Error-Message": "no"})

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _found(self, name: str, revision: str) -> tuple[str, Files] | None:
        repository = self.served.repositories.get(name)
        if repository is None:
            self._fail(404, "RepoNotFound")
            return None
        commit = repository.branches.get(revision, revision)
        if commit not in repository.commits:
            self._fail(404, "RevisionNotFound")
            return None
        return commit, repository.commits[commit]

    def _api(self, name: str, words: list[str]) -> None:
        what = words[0] if words else "revision"
        found = self._found(name, words[1] if len(words) > 1 else "main")
        if found is None:
            return
        commit, files = found
        entries = [
            {"type": "file", "path": path, "size": self._reported(content), "oid": etag_of(content)}
            for path, content in files.items()
        ]
        folders = {path.rpartition("/")[0] for path in files if "/" in path}
        entries += [{"type": "directory", "path": path, "oid": commit} for path in sorted(folders)]
        under = "/".join(words[2:])
        if what == "tree":
            inside = [one for one in entries if str(one["path"]).startswith(under)]
            self._json(inside)
        elif what == "paths-info":
            wanted = json.loads(self.body)["paths"]
            self._json([one for one in entries if one["path"] in wanted])
        else:
            siblings = [
                {"rfilename": path, "size": self._reported(content), "blobId": etag_of(content)}
                for path, content in files.items()
            ]
            short = name.partition("/")[2]
            self._json({"id": short, "_id": short, "sha": commit, "siblings": siblings})

    def _reported(self, content: bytes) -> int:
        return 0 if self.served.understates else len(content)

    def _json(self, value: object) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _file(self, name: str, revision: str, path: str) -> None:
        found = self._found(name, revision)
        if found is None:
            return
        commit, files = found
        repository = self.served.repositories[name]
        if repository.token and self.headers.get("authorization") != f"Bearer {repository.token}":
            self._fail(401, repository.code)
        elif path not in files:
            headers = {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit}
            self._send(404, b"", headers)
        else:
            self._content(path, commit, files[path])

    def _content(self, path: str, commit: str, content: bytes) -> None:
        given = self.headers.get("range", "")
        start = int(given.removeprefix("bytes=").partition("-")[0] or 0) if given else 0
        self.send_response(206 if given else 200)
        for name, value in {
            "ETag": f'"{etag_of(content)}"',
            "X-Repo-Commit": commit,
            "Accept-Ranges": "bytes",
            "Content-Length": str(len(content) - start),
        }.items():
            self.send_header(name, value)
        if given:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if self.command == "GET":
            self._pieces(path, content[start:])

    def _pieces(self, path: str, content: bytes) -> None:
        key = (self.client_address[0], path)
        for place in range(0, len(content), _CHUNK):
            piece = content[place : place + _CHUNK]
            try:
                self.wfile.write(piece)
            except OSError:
                return
            with self.served.lock:
                self.served.sent[key] = self.served.sent.get(key, 0) + len(piece)
            if len(content) > _CHUNK:
                time.sleep(self.served.slow)
