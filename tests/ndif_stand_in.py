"""A stand-in for NDIF on this machine: it keeps each request, and really runs it.

It speaks what nnsight's client does: a websocket for the news of a job, a form with the
job in it, and an answer of saved tensors.
"""

import base64
import hashlib
import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import torch
import zstandard
from nnsight.schema.request import RequestModel
from nnsight.schema.response import ResponseModel, Status
from nnsight.tracing import tracer as tracing


# Every websocket server answers with this, by RFC 6455.
_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


@dataclass
class Ndif:
    """What the stand-in got, and how it answers.

    Attributes:
        envoy: The model that it has.
        url: Where it listens.
        keys: The keys that came with connections and with jobs.
        jobs: The jobs, as they came.
        failure: What goes wrong instead of a run, if anything.
        hostile: An answer that is no result.
    """

    envoy: Any
    url: str = ""
    keys: list[str] = field(default_factory=list)
    jobs: list[bytes] = field(default_factory=list)
    failure: str = ""
    hostile: bytes | None = None
    answer: bytes = b""
    is_ready: threading.Event = field(default_factory=threading.Event)


class _Handler(BaseHTTPRequestHandler):
    ndif: Ndif
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        self.ndif.keys.append(self.headers.get("ndif-api-key", ""))
        nonce = self.headers["Sec-WebSocket-Key"].encode()
        accepted = base64.b64encode(hashlib.sha1(nonce + _MAGIC).digest()).decode()
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", accepted)
        self.end_headers()
        self._frame(1, b'{"session_id": "one"}')
        self.ndif.is_ready.wait(20)
        self.ndif.is_ready.clear()
        self._frame(2, self.ndif.answer)
        self.close_connection = True

    def do_POST(self) -> None:
        self.ndif.keys.append(self.headers.get("ndif-api-key", ""))
        form = self.rfile.read(int(self.headers["Content-Length"]))
        boundary = self.headers["Content-Type"].partition("boundary=")[2].encode()
        parts = form.split(b"--" + boundary)
        (job,) = (p for p in parts if b'name="blob"' in p.partition(b"\r\n\r\n")[0])
        self.ndif.jobs.append(form)
        received = ResponseModel(id="job", status=Status.RECEIVED)
        body = received.model_dump_json().encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        blob = job.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n")
        self.ndif.answer = _answer(self.ndif, blob, b'"compress":true' in form)
        self.ndif.is_ready.set()

    def _frame(self, kind: int, payload: bytes) -> None:
        size = len(payload)
        length = bytes([size]) if size < 126 else b"\x7f" + size.to_bytes(8, "big")
        self.wfile.write(bytes([0x80 | kind]) + length + payload)
        self.wfile.flush()


def _answer(ndif: Ndif, blob: bytes, is_compressed: bool) -> bytes:
    if ndif.failure:
        failed = ResponseModel(id="job", status=Status.ERROR, description=ndif.failure)
        return failed.pickle()
    data = ndif.hostile or _result(ndif, blob, is_compressed)
    if is_compressed:
        data = zstandard.ZstdCompressor().compress(data)
    done = ResponseModel(id="job", status=Status.COMPLETED, data=data)
    return done.pickle()


def _result(ndif: Ndif, blob: bytes, is_compressed: bool) -> bytes:
    objects = ndif.envoy._remoteable_persistent_objects()
    job = RequestModel.deserialize(blob, objects, is_compressed)
    tracing.inc()
    try:
        with torch.no_grad():
            job.execute(job.info.code)
        kept = job.info.frame.f_locals["kept"]
    finally:
        tracing.dec()
    buffer = io.BytesIO()
    torch.save({"kept": kept}, buffer)
    return buffer.getvalue()


@contextmanager
def serving_ndif(envoy: Any, patch: pytest.MonkeyPatch) -> Iterator[Ndif]:
    """A stand-in that has this model, with nnsight's client pointed at it."""
    ndif = Ndif(envoy=envoy)
    handler = type("Handler", (_Handler,), {"ndif": ndif})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    ndif.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    patch.setenv("NDIF_HOST", ndif.url)
    patch.setenv("NDIF_API_KEY", "a-key-of-mine")
    for name in ("no_proxy", "NO_PROXY"):
        patch.setenv(name, "127.0.0.1")
    try:
        yield ndif
    finally:
        ndif.is_ready.set()
        server.shutdown()
        server.server_close()
        thread.join()
