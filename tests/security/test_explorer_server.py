"""`interp explore` as a web page elsewhere, or a program on this machine, meets it."""

import http.client
import sys
from collections.abc import Iterator
from urllib.parse import urlsplit

import psutil
import pytest
from browser_session import serving
from sample_results import truthfulness

from interp_explorer.served import is_own


pytestmark = pytest.mark.xdist_group("explorer")

STREAM = "/_stcore/stream"
HEALTH = "/_stcore/health"
HANDSHAKE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}
SECRET = "the-content-of-a-secret-file"


@pytest.fixture(scope="module")
def port(tmp_path_factory) -> Iterator[int]:
    """The explorer of a folder that has a secret beside it and a link to it inside."""
    root = tmp_path_factory.mktemp("served")
    (root / "secret.txt").write_text(SECRET)
    truthfulness().save(root / "results" / "r")
    (root / "results" / "link.txt").symlink_to(root / "secret.txt")
    with serving(root / "results") as base:
        found = urlsplit(base).port
        assert found is not None
        yield found


def answer(port: int, path: str, headers: dict[str, str], method: str = "GET"):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        # As given: the client must not tidy the path or add a host of its own.
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        response = connection.getresponse()
        # A websocket that was accepted has no end to read to.
        body = b"" if response.status == 101 else response.read()
        return response.status, body, dict(response.getheaders())
    finally:
        connection.close()


def opened(port: int, *, host: str, origin: str | None) -> int:
    headers = {**HANDSHAKE, "Host": host}
    headers |= {} if origin is None else {"Origin": origin}
    return answer(port, STREAM, headers)[0]


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "LOCALHOST"])
def test_pages_of_this_machine_are_connected(port, name):
    host = f"{name}:{port}"
    assert opened(port, host=host, origin=f"http://{host}") == 101
    assert opened(port, host=host, origin=None) == 101
    assert answer(port, HEALTH, {"Host": host})[0] == 200


def test_a_tunnel_with_another_port_is_connected(port):
    assert opened(port, host="localhost:9", origin="http://localhost:9") == 101


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "https://evil.example",
        "null",
        "",
        "file://",
        "http://127.0.0.1.evil.example",
        "http://evil.example/127.0.0.1",
        "http://localhost@evil.example",
        # Another server on this machine is another origin, too.
        "http://127.0.0.1:1",
        "http://localhost",
    ],
)
def test_a_page_of_another_origin_is_refused(port, origin):
    host = f"127.0.0.1:{port}"
    assert opened(port, host=host, origin=origin) == 403
    assert answer(port, HEALTH, {"Host": host, "Origin": origin})[0] == 403


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1.evil.example",
        "127.0.0.1@evil.example",
        "evil.example@127.0.0.1",
        "localhost.",
        "0.0.0.0",
        "[::1]",
        "",
    ],
)
def test_a_name_that_was_made_to_point_here_is_refused(port, host):
    # DNS rebinding: the page and the server have one origin, so only the name tells.
    named = f"{host}:{port}" if host else ""
    assert opened(port, host=named, origin=f"http://{named}") == 403
    assert opened(port, host=named, origin=None) == 403
    status, body, _ = answer(port, "/", {"Host": named})
    assert status == 403
    assert b"127.0.0.1" in body


def test_other_pages_are_not_told_that_they_may_read(port):
    host = f"127.0.0.1:{port}"
    for path in ("/", HEALTH, "/_stcore/host-config"):
        for sent in ({"Host": host}, {"Host": host, "Origin": "http://evil.example"}):
            names = {name.lower() for name in answer(port, path, sent)[2]}
            assert "access-control-allow-origin" not in names


def test_nothing_is_taken_without_a_token_of_the_page(port):
    host = f"127.0.0.1:{port}"
    upload = "/_stcore/upload_file/session/file"
    for method in ("PUT", "DELETE"):
        assert answer(port, upload, {"Host": host}, method)[0] in (400, 403)


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.txt",
        "/../../../../../../etc/hostname",
        "/static/../../../../../../../../etc/passwd",
        "/static/%2e%2e/%2e%2e/secret.txt",
        "/static/..%2f..%2fsecret.txt",
        "/static/..%5c..%5csecret.txt",
        "//etc/passwd",
        "/media/../../secret.txt",
        "/media/%2fetc%2fpasswd",
        "/component/x/../../../../secret.txt",
        "/app/static/../../secret.txt",
        "/app/static/link.txt",
        "/link.txt",
        "/secret.txt",
        "/r/result.json",
        "/static/app.py%00.js",
    ],
)
def test_no_address_is_a_way_to_a_file(port, path):
    host = {"Host": f"127.0.0.1:{port}"}
    _, body, _ = answer(port, path, host)
    assert SECRET.encode() not in body
    # An unknown address gets the one page of the explorer, which holds no data, or a
    # few words.
    assert body == answer(port, "/", host)[1] or len(body) < 40


@pytest.mark.skipif(sys.platform == "darwin", reason="needs root on this system")
def test_it_listens_on_the_loopback_address_alone(port):
    listening = {
        found.laddr.ip
        for found in psutil.net_connections(kind="inet")
        if found.status == psutil.CONN_LISTEN and found.laddr.port == port
    }
    assert listening == {"127.0.0.1"}


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([], False),
        ([(b"host", b"localhost:1")] * 2, False),
        ([(b"host", b"localhost:1"), *[(b"origin", b"http://localhost:1")] * 2], False),
        ([(b"host", b"localhost:\xff")], False),
        ([(b"host", b"localhost:99999")], False),
        ([(b"host", b"localhost/evil")], False),
        ([(b"host", b"localhost?evil")], False),
        ([(b"host", b"localhost:1"), (b"origin", b"https://localhost:1")], True),
    ],
)
def test_odd_headers_are_no_way_in(headers, expected):
    assert is_own(headers) is expected
