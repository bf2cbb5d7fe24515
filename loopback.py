"""A guard for web servers that only this machine's user may reach: any ASGI application behind it.

Binding to 127.0.0.1 keeps other machines out, not the pages that are open in the user's browser, nor other
users of the machine. `Guard` does that, for `fineface ui` and `fineface app` alike::

    socket = loopback.bind(port)
    guarded = loopback.Guard(application, port, announce=print)
    guarded.announce()
    loopback.serve(guarded, socket)

What is served, and in which process, is its caller's business.
"""

from __future__ import annotations

import html
import secrets
import socket
from collections.abc import Awaitable, Callable, Collection, MutableMapping, Sequence
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qsl, urlencode

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Header = tuple[bytes, bytes]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

ADDRESS = "127.0.0.1"
TOKEN = "token"
"""The parameter of a link that is exchanged for the cookie."""

PATIENCE_SECONDS = 3
"""How long open connections are waited for at the end; a page holds its websocket for ever."""

_READING = ("GET", "HEAD", "OPTIONS")
_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>{head}
<body style="font-family: system-ui; max-width: 40em; margin: 4em auto"><h1>{title}</h1><p>{text}</p></body>
</html>
"""


class PortTaken(OSError):
    """Another program listens there."""


class Guard:
    """`application` for whoever came by a link that was printed here, and for nobody else's pages.

    Every request, websockets included, must
    - name this server in its one `Host` header, or a page elsewhere had its name point here (DNS rebinding);
    - come from this server's own pages, where the browser says from whose (`Origin`, `Sec-Fetch-Site`); a
      link on a page elsewhere may open a page here, as the address bar may;
    - carry the cookie, which a link with a one-time token sets: other programs and users of this machine
      reach the port too. It is HttpOnly and SameSite=Strict, and another one at each start.

    Paths in `posted` take nothing but POST (and websockets): there, a server may obey what it is asked by
    GET, which a mere picture or link asks for. `announce` is called with each new link: there is always one
    that is unused.
    """

    def __init__(
        self,
        application: Application,
        port: int,
        *,
        posted: Collection[str] = (),
        announce: Callable[[str], object] = print,
    ) -> None:
        self._application, self._posted, self._announce = application, frozenset(posted), announce
        names = (ADDRESS, "localhost", "[::1]")
        self._hosts = {f"{name}:{port}" for name in names} | (set(names) if port == 80 else set())
        self._address = f"http://{ADDRESS}:{port}/"
        # Cookies are shared by all ports of a host: two servers at once keep theirs apart by name.
        self._cookie, self._session = f"fineface-{port}", secrets.token_urlsafe(32)
        self._token = secrets.token_urlsafe(32)

    @property
    def link(self) -> str:
        """The address that lets a browser in, once."""
        return f"{self._address}?{urlencode({TOKEN: self._token})}"

    def announce(self) -> None:
        """Say the link."""
        self._announce(self.link)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._application(scope, receive, send)
        elif refused := self._refused(scope):
            await _refuse(scope, send, *refused)
        elif scope["type"] == "http" and (token := _token(scope)) is not None:
            await self._exchange(token, scope, send)
        elif not self._knows(scope):
            text = "Open the link that was printed where this server was started: it lets a browser in, once."
            await _refuse(scope, send, 401, "Who are you?", text)
        else:
            await self._application(scope, receive, send)

    def _refused(self, scope: Scope) -> tuple[int, str, str] | None:
        """Status, title and text for a request that no page of this server would make."""
        hosts = _headers(scope, b"host")
        if len(hosts) != 1 or hosts[0].lower() not in self._hosts:
            return 421, "Not this server", f"This server answers to {', '.join(sorted(self._hosts))} only."
        method = scope.get("method", "GET")
        if scope["type"] == "http" and scope["path"].rstrip("/") in self._posted and method != "POST":
            return 405, "Not by this method", "This address takes POST only."
        own = f"http://{hosts[0].lower()}"
        if any(origin.lower() != own for origin in _headers(scope, b"origin")):
            return 403, "Another site's page asked", "Requests of pages from elsewhere are not answered."
        if not set(_headers(scope, b"sec-fetch-site")) <= {"same-origin", "none"} and not _opens(
            scope, method
        ):
            return 403, "Another site's page asked", "Requests of pages from elsewhere are not answered."
        return None

    def _knows(self, scope: Scope) -> bool:
        """Whether the request carries the cookie of this start."""
        for header in _headers(scope, b"cookie"):
            try:
                morsel = SimpleCookie(header).get(self._cookie)
            except CookieError:
                continue
            if morsel is not None and _equal(morsel.value, self._session):
                return True
        return False

    async def _exchange(self, token: str, scope: Scope, send: Send) -> None:
        """The cookie for a token, and the page without it: an address is kept in histories and logs."""
        headers = []
        if _equal(token, self._token):
            self._token = secrets.token_urlsafe(32)
            cookie = f"{self._cookie}={self._session}; Path=/; HttpOnly; SameSite=Strict"
            headers.append((b"set-cookie", cookie.encode()))
            self.announce()
        elif not self._knows(scope):
            text = "It was used before, or is of an earlier start. Open the one that was printed last."
            await _refuse(scope, send, 401, "This link is no longer good", text)
            return
        # A page of ours, not a redirection: where another site's page was left, no Strict cookie comes along.
        there = html.escape(_without_token(scope))
        head = f'<meta http-equiv="refresh" content="0; url={there}">'
        await _show(send, 200, "Welcome", f'<a href="{there}">Go on</a>', headers, head)


def bind(port: int) -> socket.socket:
    """A socket that listens on `port` of this machine only (0: one that is free). Raises PortTaken."""
    try:
        return socket.create_server((ADDRESS, port))
    except OSError as error:
        raise PortTaken(
            f"port {port} of {ADDRESS} cannot be listened on: {error.strerror}; choose another"
        ) from error


def serve(application: Application, listening: socket.socket, log_level: str = "warning") -> None:
    """Answer on a socket until interrupted."""
    import uvicorn

    # The access log would hold tokens; headers that claim another client or scheme are nobody's here.
    config = uvicorn.Config(
        application,  # type: ignore[arg-type]
        log_level=log_level,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=PATIENCE_SECONDS,
    )
    uvicorn.Server(config).run(sockets=[listening])


def _opens(scope: Scope, method: str) -> bool:
    """Whether a request opens a page in a tab, as a link does."""
    how = _headers(scope, b"sec-fetch-mode"), _headers(scope, b"sec-fetch-dest")
    return scope["type"] == "http" and method in _READING and how == (["navigate"], ["document"])


def _headers(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]


def _pairs(scope: Scope) -> list[tuple[str, str]]:
    return parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)


def _token(scope: Scope) -> str | None:
    if scope["method"] != "GET":
        return None
    return next((value for name, value in _pairs(scope) if name == TOKEN), None)


def _without_token(scope: Scope) -> str:
    """The place on this server that was asked for. One slash begins it: two would be another server."""
    path = scope.get("raw_path", b"/").decode("latin-1").partition("?")[0]
    query = urlencode([(name, value) for name, value in _pairs(scope) if name != TOKEN])
    return "/" + path.lstrip("/\\") + (f"?{query}" if query else "")


def _equal(one: str, other: str) -> bool:
    return secrets.compare_digest(one.encode(), other.encode())


async def _refuse(scope: Scope, send: Send, status: int, title: str, text: str) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": title})
    else:
        await _show(send, status, title, text)


async def _show(
    send: Send, status: int, title: str, text: str, headers: Sequence[Header] = (), head: str = ""
) -> None:
    page = _PAGE.format(title=title, text=text, head=head).encode()
    headers = [
        *headers,
        (b"content-type", b"text/html; charset=utf-8"),
        (b"content-length", str(len(page)).encode()),
        (b"cache-control", b"no-store"),
        (b"referrer-policy", b"no-referrer"),
        (b"x-content-type-options", b"nosniff"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": page})
