"""Pictures from the web: a real server on loopback, and addresses that must not be asked."""

from __future__ import annotations

import gzip
import ipaddress
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from pictures import jpeg

from looksay import fetching
from looksay.errors import InputError

JPEG = jpeg(1)
Answer = Callable[[BaseHTTPRequestHandler], None]


class Site:
    """Answers by path; `asked` has (Host, path) of every request."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.sent = 0
        self.answers: dict[str, Answer] = {}
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.asked.append((self.headers["host"], self.path))
                site.answers[self.path.partition("?")[0]](self)

            def log_message(self, *_: Any) -> None: ...

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.port = self.http.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()


@pytest.fixture
def site() -> Iterator[Site]:
    opened = Site()
    yield opened
    opened.close()


@pytest.fixture
def other() -> Iterator[Site]:
    opened = Site()
    opened.answers["/a.jpg"] = picture()
    yield opened
    opened.close()


def picture(kind: str = "image/jpeg", body: bytes = JPEG, **headers: str) -> Answer:
    def answer(to: BaseHTTPRequestHandler) -> None:
        to.send_response(200)
        to.send_header("Content-Type", kind)
        for name, value in headers.items():
            to.send_header(name.replace("_", "-"), value)
        to.end_headers()
        to.wfile.write(body)

    return answer


def redirect(where: str) -> Answer:
    def answer(to: BaseHTTPRequestHandler) -> None:
        to.send_response(302)
        to.send_header("Location", where)
        to.end_headers()

    return answer


def test_the_bytes_as_they_are(site: Site) -> None:
    site.answers["/%C3%A4.jpg"] = picture()
    assert fetching.fetch(f"{site.url}/ä.jpg?size=1#top") == JPEG
    assert site.asked == [(f"127.0.0.1:{site.port}", "/%C3%A4.jpg?size=1")]


def test_redirects_on_the_same_server_are_followed(site: Site) -> None:
    site.answers |= {
        "/old": redirect("/new"),
        "/new": redirect(f"{site.url}/a.jpg"),
        "/a.jpg": picture(),
    }
    assert fetching.fetch(f"{site.url}/old") == JPEG
    site.answers["/round"] = redirect("/round")
    with pytest.raises(InputError, match="more than 5 times"):
        fetching.fetch(f"{site.url}/round")


def test_redirects_into_the_local_network_are_not(site: Site, other: Site) -> None:
    for where in (
        f"{other.url}/a.jpg",  # another port of this machine
        f"http://localhost:{site.port}/a.jpg",
        "http://10.0.0.1/a.jpg",
        "http://169.254.169.254/latest/meta-data",
        "http://[::1]/a.jpg",
        "file:///etc/passwd",
    ):
        site.answers["/x"] = redirect(where)
        with pytest.raises(InputError, match="redirects"):
            fetching.fetch(f"{site.url}/x")
    assert not other.asked


def test_a_name_that_stands_for_a_private_address_is_not_asked(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with a name of one's own that resolves to 127.0.0.1, or to one good and one bad address."""
    for addresses in (["127.0.0.1"], ["93.184.216.34", "192.168.0.7"], ["::ffff:10.1.1.1"]):
        rows = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (a, site.port)) for a in addresses]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, rows=rows, **__: rows)
        with pytest.raises(InputError, match="private network"):
            fetching.fetch(f"http://pictures.example:{site.port}/a.jpg")
    assert not site.asked


def test_a_name_is_looked_up_once(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection goes to the address that was checked, whatever the name means a moment later."""
    site.answers["/a.jpg"] = picture()
    real, looked = socket.getaddrinfo, []

    def once(host: Any, *rest: Any, **more: Any) -> Any:
        looked.append(host)
        return real("127.0.0.1" if host == "pictures.example" else host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", once)
    monkeypatch.setattr(fetching, "is_public", lambda _: True)
    assert fetching.fetch(f"http://pictures.example:{site.port}/a.jpg") == JPEG
    assert looked.count("pictures.example") == 1
    assert site.asked == [(f"pictures.example:{site.port}", "/a.jpg")]


@pytest.mark.parametrize(
    "address",
    [
        "10.1.2.3", "172.16.0.1", "192.168.1.1", "127.0.0.1", "0.0.0.0", "169.254.169.254", "100.64.0.1",
        "224.0.0.1", "255.255.255.255", "::", "::1", "fe80::1", "fc00::1", "ff02::1",
        "::ffff:192.168.1.1", "2002:7f00:1::", "64:ff9b::10.0.0.1",
    ],
)  # fmt: skip
def test_what_is_not_public(address: str) -> None:
    assert not fetching.is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:4700::6810:84e5", "64:ff9b::8.8.8.8"])
def test_what_is_public(address: str) -> None:
    assert fetching.is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ftp://127.0.0.1/a.jpg", "not an address of the web"),
        ("http:///a.jpg", "not an address"),
        ("http://127.0.0.1:99999/a.jpg", "not an address"),
        ("http://me:secret@127.0.0.1/a.jpg", "a URL with a password"),
        ("http://2130706433/a.jpg", "private network"),
        ("http://192.168.0.1/a.jpg", "private network"),
    ],
)
def test_addresses_that_are_refused(url: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as raised:
        fetching.fetch(url)
    assert "secret" not in str(raised.value)


def test_only_images_are_taken(site: Site) -> None:
    site.answers |= {
        "/page": picture("text/html; charset=utf-8", b"<html>"),
        "/packed": picture(body=gzip.compress(JPEG), Content_Encoding="gzip"),
    }
    with pytest.raises(InputError, match="is text/html, no image"):
        fetching.fetch(f"{site.url}/page")
    with pytest.raises(InputError, match="came packed"):
        fetching.fetch(f"{site.url}/packed")


def test_a_huge_body_is_left_where_it_is(site: Site) -> None:
    site.answers["/said"] = picture(Content_Length="400000000")

    def endless(to: BaseHTTPRequestHandler) -> None:
        to.send_response(200)
        to.send_header("Content-Type", "image/png")
        to.end_headers()
        try:
            while True:
                site.sent += to.wfile.write(bytes(100_000))
        except OSError:
            pass

    site.answers["/endless"] = endless
    for path in ("/said", "/endless"):
        with pytest.raises(InputError, match="larger than 1 MB"):
            fetching.fetch(site.url + path, max_bytes=1_000_000)
    assert site.sent < 50_000_000  # what lay in the buffers of the sockets, not more


def test_a_slow_server_is_given_up(site: Site) -> None:
    def dripping(to: BaseHTTPRequestHandler) -> None:
        to.send_response(200)
        to.send_header("Content-Type", "image/png")
        to.end_headers()
        try:
            for _ in range(100):
                to.wfile.write(b"x")
                time.sleep(0.1)
        except OSError:
            pass

    site.answers |= {"/drip": dripping, "/silent": lambda _: time.sleep(3)}
    for path in ("/drip", "/silent"):
        began = time.monotonic()
        with pytest.raises(InputError, match=r"within 0\.5 seconds"):
            fetching.fetch(site.url + path, timeout_s=0.5)
        assert time.monotonic() - began < 2.5


def test_a_server_that_breaks_off(site: Site) -> None:
    site.answers["/a.jpg"] = picture(Content_Length=str(len(JPEG) + 100))
    with pytest.raises(InputError, match="could not be fetched"):
        fetching.fetch(f"{site.url}/a.jpg")
