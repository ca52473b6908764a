"""A stand-in for the hub on this machine, for tests of whatever downloads.

It speaks the hub's protocol: model facts, revisions, file tree, files with commit and
hash in their headers, and its error codes.
"""

import hashlib
import json
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import huggingface_hub.constants
import pytest


COMMIT = "0123456789abcdef0123456789abcdef01234567"
OTHER_COMMIT = "f" * 40
SECONDS_OF_A_STALL = 1.5


@dataclass
class Hub:
    """What the stand-in serves, and what it was asked for.

    Attributes:
        url: Where it listens.
        files: What every commit holds.
        revisions: Commits by branch.
        gated: Whether files are refused.
        status: An error that every answer is, or 0.
        asked: The paths that were asked for.
        own: What single commits hold besides.
        failures: How many more downloads of a commit fail.
        stalls: How many more downloads of a commit stop half way.
    """

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    revisions: dict[str, str] = field(default_factory=lambda: {"main": COMMIT})
    gated: bool = False
    status: int = 0
    asked: list[str] = field(default_factory=list)
    own: dict[str, Mapping[str, bytes]] = field(default_factory=dict)
    failures: dict[str, int] = field(default_factory=dict)
    stalls: dict[str, int] = field(default_factory=dict)

    def held(self, commit: str) -> dict[str, bytes]:
        """The files of a commit."""
        return {**self.files, **self.own.get(commit, {})}

    def fetched(self, commit: str) -> list[str]:
        """The files of a commit that were asked for, in order."""
        return [path.rpartition("/")[2] for path in self.asked if f"/{commit}/" in path]


class _Handler(BaseHTTPRequestHandler):
    hub: Hub

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _answer(self) -> None:
        path = self.path.partition("?")[0]
        self.hub.asked.append(path)
        if self.hub.status:
            self._fail(self.hub.status, "")
        elif "/someone/tiny" not in path:
            # What the hub tells visitors about a repository that does not exist.
            self._fail(401, "RepoNotFound")
        elif path == "/api/models/someone/tiny/refs":
            self._refs()
        elif match := re.fullmatch(r"/api/models/someone/tiny(/revision/(.+))?", path):
            self._facts(match[2] or "main")
        elif match := re.fullmatch(r"/api/models/someone/tiny/tree/(\w+)", path):
            self._json(
                [
                    {"type": "file", "path": name, "size": len(data), "oid": "0" * 40}
                    for name, data in self.hub.held(match[1]).items()
                ]
            )
        elif match := re.fullmatch(r"/someone/tiny/resolve/(\w+)/(.+)", path):
            self._file(*match.groups())
        else:
            self._fail(404, "EntryNotFound")

    def _facts(self, revision: str) -> None:
        commit = self.hub.revisions.get(revision)
        if commit is None and revision not in self.hub.revisions.values():
            return self._fail(404, "RevisionNotFound")
        facts = {
            "id": "someone/tiny",
            "sha": commit or revision,
            "siblings": [
                {"rfilename": name} for name in self.hub.held(commit or revision)
            ],
        }
        return self._json(facts)

    def _file(self, commit: str, name: str) -> None:
        if self.hub.gated:
            return self._fail(403, "GatedRepo")
        data = self.hub.held(commit).get(name)
        if data is None:
            return self._fail(404, "EntryNotFound")
        if self.command == "GET" and self.hub.failures.get(commit, 0):
            self.hub.failures[commit] -= 1
            return self._fail(503, "")
        digest = hashlib.sha256(data).hexdigest()
        headers = {"ETag": f'"{digest}"', "X-Repo-Commit": commit}
        stalls = self.command == "GET" and name.endswith(".safetensors")
        if stalls and self.hub.stalls.get(commit, 0):
            self.hub.stalls[commit] -= 1
            return self._stall(data, headers)
        start = int((self.headers.get("Range") or "bytes=0-")[6:].split("-")[0])
        if start and self.command == "GET":
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
            return self._send(206, data[start:], headers)
        return self._send(200, data, headers)

    def _stall(self, data: bytes, headers: dict[str, str]) -> None:
        """Half of a file, and then nothing until the client gives up."""
        self.send_response(200)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data[: len(data) // 2])
        self.wfile.flush()
        time.sleep(SECONDS_OF_A_STALL)
        self.close_connection = True

    def _refs(self) -> None:
        branches = [
            {"name": name, "ref": f"refs/heads/{name}", "targetCommit": commit}
            for name, commit in self.hub.revisions.items()
        ]
        self._json({"branches": branches, "tags": [], "converts": []})

    def _json(self, value: object) -> None:
        headers = {"Content-Type": "application/json"}
        self._send(200, json.dumps(value).encode(), headers)

    def _fail(self, status: int, code: str) -> None:
        self._send(status, b"{}", {"X-Error-Code": code})

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def point_at(
    url: str, cache: Path, patch: pytest.MonkeyPatch, *, offline: bool = False
) -> None:
    """Make the hub's client talk to `url`."""
    constants = huggingface_hub.constants
    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    patch.setattr(constants, "ENDPOINT", url)
    patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    patch.setattr(constants, "HF_HUB_CACHE", str(cache))
    patch.setattr(constants, "HF_HUB_OFFLINE", offline)
    for name in ("no_proxy", "NO_PROXY"):
        patch.setenv(name, "127.0.0.1")


@contextmanager
def serving(
    files: Mapping[str, bytes], cache: Path, patch: pytest.MonkeyPatch
) -> Iterator[Hub]:
    """A stand-in that serves these files, with the hub's client pointed at it."""
    hub = Hub(files=dict(files))
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    point_at(hub.url, cache, patch)
    try:
        yield hub
    finally:
        huggingface_hub.close_session()
        server.shutdown()
        server.server_close()
        thread.join()
