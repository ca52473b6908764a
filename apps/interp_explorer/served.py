"""The explorer as a server that answers only to pages of its own; `interp explore`.

Streamlit compares the origin of a websocket with the `Host` header, and by itself takes
any host: a page elsewhere whose name is made to point here (DNS rebinding) would pass.
For an origin it does not know it asks a server outside for this machine's address. Both
end here, before Streamlit sees the request.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import streamlit as st
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse


if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send


HOSTS = ("127.0.0.1", "localhost")
POLICY_VIOLATION = 1008


class OnlyOwnPages:
    """Refuses requests for another host, and those that pages of others send.

    The port is not compared: behind `ssh -L 9000:127.0.0.1:8501` it is another one.
    """

    def __init__(self, app: "ASGIApp") -> None:
        self._app = app

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        if scope["type"] == "lifespan" or is_own(scope["headers"]):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": POLICY_VIOLATION})
        else:
            answer = PlainTextResponse(
                "The explorer answers only at http://127.0.0.1 and http://localhost, "
                "and only to its own pages.\n",
                status_code=403,
            )
            await answer(scope, receive, send)


def is_own(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether a request names this machine and comes from a page of this server.

    Programs send no origin, and neither does a browser that opens an address or follows
    a link; a page that asks from elsewhere cannot leave it out.

    Args:
        headers: Names in lower case, and values.

    Example:
        >>> is_own([(b"host", b"localhost:8501")])
        True
        >>> is_own([(b"host", b"evil.example:8501")])
        False
    """
    given = list(headers)
    hosts = [value for name, value in given if name == b"host"]
    origins = [value for name, value in given if name == b"origin"]
    if len(hosts) != 1 or len(origins) > 1:
        return False
    host = hosts[0].decode("latin-1").lower()
    try:
        parts = urlsplit(f"//{host}")
        named = parts.hostname in HOSTS and parts.netloc == host
        # Reading the port also checks that it is one.
        named = named and parts.username is None and parts.port != 0
    except ValueError:
        return False
    own = {f"http://{host}", f"https://{host}"}
    return named and all(one.decode("latin-1").lower() in own for one in origins)


app = st.App(Path(__file__).with_name("app.py"), middleware=[Middleware(OnlyOwnPages)])
