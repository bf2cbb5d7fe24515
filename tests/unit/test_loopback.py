"""The guard of local web servers: who is let in, and who is not."""

import asyncio
import html
import re
from urllib.parse import parse_qs, urlsplit

import pytest

import loopback

PORT = 3000
HOST = f"127.0.0.1:{PORT}"


class Visited:
    """A guarded application that remembers which requests reached it."""

    def __init__(self):
        self.reached, self.links = [], []
        self.guard = loopback.Guard(self.application, PORT, posted=["/graphql"], announce=self.links.append)
        self.guard.announce()

    async def application(self, scope, receive, send):
        self.reached.append(scope)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"secret"})

    def ask(self, path="/", method="GET", kind="http", **headers):
        """Status, headers and body; of a refused websocket, its close code."""
        given = {"host": HOST} | {name.replace("_", "-"): value for name, value in headers.items()}
        split, sent = urlsplit(path), []
        scope = {
            "type": kind,
            "path": split.path,
            "raw_path": split.path.encode(),
            "query_string": split.query.encode(),
            "headers": [
                (name.encode(), value.encode()) for name, value in given.items() if value is not None
            ],
        }
        if kind == "http":
            scope["method"] = method

        async def receive():
            return {"type": "http.request"}

        async def send(message):
            sent.append(message)

        asyncio.run(self.guard(scope, receive, send))
        if sent[0]["type"] == "websocket.close":
            return sent[0]["code"], {}, ""
        return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"].decode()

    def come_in(self, path="/"):
        """The cookie, by the link that was printed last."""
        token = urlsplit(self.links[-1]).query
        _, headers, _ = self.ask(f"{path}{'&' if '?' in path else '?'}{token}")
        return headers[b"set-cookie"].decode().partition(";")[0]


@pytest.fixture
def site():
    return Visited()


def test_nobody_comes_in_without_the_cookie(site):
    for path in ("/", "/graphql", "/assets/x.js?a=b"):
        assert site.ask(path, method="POST")[0] == 401
    assert site.ask(cookie=f"fineface-{PORT}=guessed")[0] == 401
    assert site.ask(cookie="fineface-3001=x; =; ;;")[0] == 401
    assert site.ask(kind="websocket")[0] == 1008
    assert not site.reached


def test_the_link_lets_in_once_and_the_next_is_printed(site):
    first = site.links[-1]
    status, headers, page = site.ask("/?" + urlsplit(first).query)
    assert status == 200 and "secret" not in page and not site.reached
    cookie = headers[b"set-cookie"].decode()
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie.split("; "))
    assert parse_qs(urlsplit(first).query)["token"][0] not in cookie
    assert headers[b"cache-control"] == b"no-store" and headers[b"referrer-policy"] == b"no-referrer"

    assert site.ask(cookie=cookie.partition(";")[0])[0] == 200 and len(site.reached) == 1
    status, headers, _ = site.ask("/?" + urlsplit(first).query)
    assert status == 401 and b"set-cookie" not in headers
    assert len(site.links) == 2 and site.links[1] != first
    assert site.ask("/?" + urlsplit(site.links[1]).query)[0] == 200


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        ("/", "/"),
        ("/runs/1?view=log&x=", "/runs/1?view=log&x="),
        ("//evil.example/a", "/evil.example/a"),
        ('/a"><script>', '/a"><script>'),
    ],
)
def test_the_page_asked_for_follows_on_this_server_only(site, asked, shown):
    token = urlsplit(site.links[-1]).query
    _, _, page = site.ask(f"http://{HOST}{asked}{'&' if '?' in asked else '?'}{token}")
    place = re.search(r'content="0; url=([^"]*)"', page)[1]
    assert html.unescape(place) == shown and "<script>" not in page


@pytest.mark.parametrize(
    "host",
    ["evil.example", f"evil.example:{PORT}", "127.0.0.1", "127.0.0.1:3001", f"{HOST}.evil.example", "", None],
)
def test_another_name_is_not_answered(site, host):
    cookie = site.come_in()
    assert site.ask(cookie=cookie, host=host)[0] == 421
    assert site.ask(cookie=cookie, host=host, kind="websocket")[0] == 1008
    assert not site.reached


@pytest.mark.parametrize("host", [HOST, f"localhost:{PORT}", f"[::1]:{PORT}", f"LocalHost:{PORT}"])
def test_the_names_of_this_machine_are(site, host):
    assert site.ask(cookie=site.come_in(), host=host)[0] == 200


def test_two_hosts_are_no_host(site):
    cookie = site.come_in().encode()
    headers = [(b"host", HOST.encode()), (b"host", b"evil.example"), (b"cookie", cookie)]
    assert site.guard._refused({"type": "http", "method": "GET", "path": "/", "headers": headers})[0] == 421


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": f"https://{HOST}"},
        {"origin": "http://127.0.0.1:8888"},
        {"origin": f"http://localhost:{PORT}"},  # another site than 127.0.0.1, for a browser too
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site", "sec_fetch_mode": "no-cors", "sec_fetch_dest": "image"},
        {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate", "sec_fetch_dest": "iframe"},
    ],
)
def test_pages_of_other_sites_are_not_answered(site, headers):
    cookie = site.come_in()
    for method in ("GET", "POST"):
        assert site.ask("/report", method, cookie=cookie, **headers)[0] == 403
    assert site.ask(kind="websocket", cookie=cookie, **headers)[0] == 1008
    assert not site.reached


def test_a_link_elsewhere_opens_a_page_but_posts_nothing(site):
    cookie = site.come_in()
    opened = {"sec_fetch_site": "same-site", "sec_fetch_mode": "navigate", "sec_fetch_dest": "document"}
    assert site.ask("/assets", cookie=cookie, **opened)[0] == 200
    assert site.ask("/assets", "POST", cookie=cookie, **opened)[0] == 403


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT"])
@pytest.mark.parametrize("path", ["/graphql", "/graphql/", "/graphql?query=mutation{wipe}"])
def test_what_is_posted_is_not_got(site, path, method):
    assert site.ask(path, method, cookie=site.come_in())[0] == 405
    assert not site.reached


def test_its_own_pages_are_answered(site):
    own = {"cookie": site.come_in(), "origin": f"http://{HOST}", "sec_fetch_site": "same-origin"}
    assert site.ask("/graphql", "POST", **own)[0] == 200
    assert site.ask("/graphql", kind="websocket", **own)[0] == 200


def test_a_port_that_is_taken_is_one_line():
    with loopback.bind(0) as taken:
        port = taken.getsockname()[1]
        assert taken.getsockname()[0] == "127.0.0.1"
        with pytest.raises(loopback.PortTaken, match=f"port {port} .* choose another"):
            loopback.bind(port)
