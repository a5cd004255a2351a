"""What a server must not do: answer strangers, other sites' pages or other names; go where a client sends it; open what
a client names."""

from __future__ import annotations

import hmac
import json
import socket
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="no fastapi: nothing is served")
pytest.importorskip("prometheus_client", reason="no prometheus_client: nothing is served")

from fastapi.testclient import TestClient
from pictures import encoded, jpeg
from PIL import Image as Pillow
from running import data_url, pictured
from test_fetching import Site, other, picture, redirect, site
from typer.testing import CliRunner

from looksay import fetching, images
from looksay.cli import app as commands
from looksay.errors import InputError
from looksay.serve import wire
from looksay.serve.shelf import Shelf
from looksay.web.app import create_app

__all__ = ["other", "site"]
KEY = "s3cret-ß"
HOME = "http://127.0.0.1:8000"


def client(**options: Any) -> TestClient:
    app = create_app(Shelf({"echo": "echo"}, {"clip": "hub:no/such"}), **options)
    return TestClient(app, base_url=HOME, raise_server_exceptions=False)


@pytest.fixture(scope="module")
def open_one() -> Iterator[TestClient]:
    with client() as found:
        yield found


@pytest.fixture(scope="module")
def locked() -> Iterator[TestClient]:
    with client(key=KEY, hosts=None) as found:
        yield found


def ask(to: TestClient, message: Any = "hello", model: str = "echo", **headers: str) -> Any:
    content = message if isinstance(message, dict) else {"role": "user", "content": message}
    body = {"model": model, "messages": [content]}
    return to.post("/v1/chat/completions", json=body, headers=headers)


# -- who is answered


def test_other_machines_need_a_key() -> None:
    for host in ("0.0.0.0", "::", "192.168.0.7", "example.org"):
        done = CliRunner().invoke(commands, ["serve", "--model", "echo", "--host", host])
        assert isinstance(done.exception, InputError), done.output
        assert "Set a key" in str(done.exception)


ALL = [
    "/v1/models",
    "/v1/models/echo",
    "/metrics",
    "/openapi.json",
    "/v1/chat/completions",
    "/api/explain",
]


@pytest.mark.parametrize(
    "path",
    [
        *ALL, "/v1/embeddings", "/no/such", "//v1/models", "/healthz/../v1/models", "/static/../v1/models",
        "/static/%2e%2e/v1/models", "/healthz%2f..%2fv1%2fmodels", "/V1/models", "/./metrics",
    ],
)  # fmt: skip
@pytest.mark.parametrize("key", [None, "Bearer", "Bearer ", "Bearer wrong", f"Basic {KEY}", KEY])
def test_without_the_key_nothing_is_told(locked: TestClient, path: str, key: str | None) -> None:
    headers = {} if key is None else {"authorization": key.encode()}
    for method in ("GET", "POST", "OPTIONS"):
        answer = locked.request(method, f"{HOME}{path}", headers=headers)  # type: ignore[arg-type]
        assert answer.status_code in {401, 404}, answer.text
        assert "echo" not in answer.text
        if not path.startswith(("/static", "/healthz")):
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == "Bearer"
            assert answer.json()["error"]["code"] == "invalid_api_key"


def test_with_the_key_all_is_as_without_one(locked: TestClient) -> None:
    headers: Any = {"authorization": f"Bearer {KEY}".encode()}
    assert locked.get("/v1/models", headers=headers).status_code == 200
    assert locked.get("/metrics", headers=headers).status_code == 200
    for path in ("/", "/healthz"):  # the page asks for the key itself
        assert locked.get(path).status_code == 200
        assert KEY not in locked.get(path).text


def test_keys_are_compared_in_constant_time(
    locked: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[tuple[Any, Any]] = []
    real = hmac.compare_digest
    monkeypatch.setattr(
        hmac, "compare_digest", lambda a, b: (compared.append((a, b)), real(a, b))[1]
    )
    assert locked.get("/v1/models", headers={"authorization": "Bearer x"}).status_code == 401
    assert compared == [(b"Bearer x", f"Bearer {KEY}".encode())]


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8000", 200), ("localhost", 200), ("LOCALHOST:1", 200), ("[::1]:8000", 200), ("[::1]", 200),
        ("evil.example", 421), ("evil.example:8000", 421), ("localhost.evil.example", 421), ("127.0.0.1.nip.io", 421),
        ("127.0.0.1@evil.example", 421), ("127.0.0.1:8000:evil", 421), ("[::1].evil.example", 421), ("", 421),
        ("169.254.169.254", 421), ("localhost:evil", 421), ("0.0.0.0", 421), ("[::1", 421),
    ],
)  # fmt: skip
def test_names_that_are_not_this_machine(open_one: TestClient, host: str, status: int) -> None:
    """A page of the web whose name was made to point here (DNS rebinding) is no client."""
    for path in ("/", "/v1/models", "/healthz"):
        assert open_one.get(path, headers={"host": host}).status_code == status


def test_no_other_sites_page_may_ask(open_one: TestClient) -> None:
    origin = {"origin": "https://evil.example"}
    preflight = {**origin, "access-control-request-method": "POST"}
    for path in (*ALL, "/", "/healthz"):
        for answer in (
            open_one.options(path, headers=preflight),
            open_one.get(path, headers=origin),
        ):
            assert not [name for name in answer.headers if name.startswith("access-control")]
        assert open_one.options(path, headers=preflight).status_code >= 400
    body = json.dumps({"model": "echo", "messages": [{"role": "user", "content": "hi"}]})
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        # What a form of another site can send without being asked first.
        answer = open_one.post(
            "/v1/chat/completions", content=body, headers={**origin, "content-type": kind}
        )
        assert answer.status_code == 400, answer.text


def test_every_answer_has_its_headers(open_one: TestClient, locked: TestClient) -> None:
    page = open_one.get("/")
    static = [word for word in page.text.split('"') if word.startswith(("static/", "/static/"))]
    assert static
    answers = [
        page, open_one.get("/no/such"), open_one.get("/v1/models"), locked.get("/v1/models"), ask(open_one),
        ask(open_one, model="none"), open_one.get("/healthz"), open_one.get("/", headers={"host": "x"}),
        *(open_one.get(f"/{path.lstrip('/')}") for path in static),
    ]  # fmt: skip
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert "server" not in answer.headers


def test_a_body_without_a_length_is_counted() -> None:
    taken: list[int] = []

    def endless() -> Iterator[bytes]:
        for _ in range(1000):
            taken.append(1000)
            yield b"[" * 1000

    with client(max_body=50_000) as small:
        answer = small.post("/v1/chat/completions", content=endless())
        assert answer.status_code == 413, answer.text
        assert "0 MB is the most" in answer.text
        assert ask(small).status_code == 200
        assert ask(small, "x" * 60_000).status_code == 413


# -- where it goes


@pytest.fixture
def fetching_one() -> Iterator[TestClient]:
    with client(fetch=partial(fetching.fetch, own=False, timeout_s=10.0)) as found:
        yield found


def refused(to: TestClient, url: str) -> str:
    answer = ask(to, pictured("what is this?", url))
    assert answer.status_code == 400, answer.text
    return str(answer.json()["error"]["message"])


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "localhost", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "017700000001", "0.0.0.0", "0",
        "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[0:0:0:0:0:ffff:127.0.0.1]", "[::]", "①②⑦.⓪.⓪.①",
        "127。0。0。1",
    ],
)  # fmt: skip
def test_this_machine_by_any_name(fetching_one: TestClient, site: Site, host: str) -> None:
    """Something listens there and would answer with a picture."""
    site.answers["/a.jpg"] = picture()
    refused(fetching_one, f"http://{host}:{site.port}/a.jpg")
    assert not site.asked


@pytest.mark.parametrize(
    "url",
    [
        "http://10.0.0.1/a.jpg", "http://192.168.1.1/", "http://172.16.0.1/", "http://169.254.169.254/latest/meta-data/",
        "http://[fd00:ec2::254]/latest", "http://[fe80::1]/", "http://[64:ff9b::10.0.0.1]/", "http://100.64.0.1/",
        "http://[2002:0a00:0001::]/", "http://224.0.0.1/", "http://0251.0376.0251.0376/", "http://2852039166/",
        "http://user:pw@10.0.0.1/", "ftp://10.0.0.1/", "file:///etc/passwd", "gopher://127.0.0.1:70/_x", "unix:/run/x",
        "http://", "http:///a", "http://[", "\\\\server\\share", "http://10.0.0.1\\@example.org/",
    ],
)  # fmt: skip
def test_places_that_are_not_public(fetching_one: TestClient, url: str) -> None:
    said = refused(fetching_one, url)
    assert "Traceback" not in said
    assert ":pw@" not in said


def resolved(monkeypatch: pytest.MonkeyPatch, port: int, *later: str) -> list[str]:
    """pictures.example is 127.0.0.1 and counts as public; looked up again, it is another. Returns the names that were
    looked up."""
    real, public = socket.getaddrinfo, fetching.is_public
    looked: list[str] = []

    def look(host: Any, *rest: Any, **more: Any) -> Any:
        looked.append(str(host))
        if host != "pictures.example":
            return real(host, *rest, **more)
        times = looked.count("pictures.example") - 1
        address = ("127.0.0.1", *later)[min(times, len(later))]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    def is_public(address: Any) -> bool:
        first = looked[-1] == "pictures.example" and looked.count("pictures.example") == 1
        return first or public(address)

    monkeypatch.setattr(socket, "getaddrinfo", look)
    monkeypatch.setattr(fetching, "is_public", is_public)
    return looked


def test_a_picture_of_the_web_comes(
    fetching_one: TestClient, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the connection goes to the address that was checked, whatever the name means a moment later."""
    site.answers["/a.jpg"] = picture()
    looked = resolved(monkeypatch, site.port, "10.0.0.1")
    shown = ask(fetching_one, pictured("what?", f"http://pictures.example:{site.port}/a.jpg"))
    assert shown.status_code == 200, shown.text
    assert looked.count("pictures.example") == 1
    assert (
        shown.json()["choices"]
        == ask(fetching_one, pictured("what?", data_url(1))).json()["choices"]
    )
    # The second time it is a private address, and is not asked.
    assert "private network" in refused(fetching_one, f"http://pictures.example:{site.port}/a.jpg")
    assert len(site.asked) == 1


@pytest.mark.parametrize(
    "where",
    [
        "http://127.0.0.1:{other}/a.jpg", "http://[::ffff:127.0.0.1]:{other}/a.jpg", "http://localhost:{other}/a.jpg",
        "http://2130706433:{other}/a.jpg", "//127.0.0.1:{other}/a.jpg", "http://169.254.169.254/", "file:///etc/passwd",
        "http://pictures.example:{other}/a.jpg",
    ],
)  # fmt: skip
def test_no_redirect_leads_into_the_network(
    fetching_one: TestClient, site: Site, other: Site, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.answers["/x"] = redirect(where.format(other=other.port))
    resolved(monkeypatch, site.port, "127.0.0.1")
    assert "redirects" in refused(fetching_one, f"http://pictures.example:{site.port}/x")
    assert site.asked
    assert not other.asked


# -- what it opens


_opened: list[str] = []
_watching = False


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if _watching and event in {"open", "os.listdir", "os.scandir", "os.stat"}:
        _opened.append(str(arguments[0]))


@pytest.fixture
def opened() -> Iterator[list[str]]:
    """The paths that this process opens meanwhile."""
    global _watching
    if not getattr(sys, "_looksay_hook", False):
        sys.addaudithook(_hook)
        sys._looksay_hook = True  # type: ignore[attr-defined]
    _opened.clear()
    _watching = True
    yield _opened
    _watching = False


NAMES = ["marker-path", "../marker-path", "local:/marker-path", "hub:marker-path/x", "echo/../marker-path", "echo\0marker-path"]  # fmt: skip


def test_nothing_that_a_client_names_is_opened(
    open_one: TestClient, opened: list[str], tmp_path: Path
) -> None:
    secret = tmp_path / "marker-path.png"
    secret.write_bytes(encoded(Pillow.new("RGB", (8, 8), "red"), "PNG"))
    opened.clear()
    for name in (*NAMES, str(secret), f"local:{secret.parent}"):
        assert ask(open_one, model=name).status_code == 404
        body = {"model": name, "input": "a"}
        assert open_one.post("/v1/embeddings", json=body).status_code == 404
        asked = {
            "model": name,
            "messages": [pictured("?", data_url(1)), {"role": "assistant", "content": "a"}],
        }
        assert open_one.post("/api/explain", json=asked).status_code == 404
        for path in (f"/v1/models/{name}", f"/static/x/{name}", f"/static/../{name}", f"/{name}"):
            assert open_one.get(path.replace("\0", "%00")).status_code == 404
        for url in (name, f"file://{name}", f"file:{name}", f"data:image/png;file={name}"):
            assert ask(open_one, pictured("?", url)).status_code == 400
    assert not [path for path in opened if "marker-path" in path]


def test_a_drawing_draws_no_file(tmp_path: Path) -> None:
    red = tmp_path / "red.png"
    red.write_bytes(encoded(Pillow.new("RGB", (8, 8), "red"), "PNG"))
    for href in (str(red), red.as_uri(), f"file://localhost{red}", "red.png"):
        for attribute in ("href", "xlink:href"):
            svg = (
                '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="8" height="8">'
                f'<image {attribute}="{href}" width="8" height="8"/></svg>'
            )
            source = wire.image_of(data_url(svg.encode(), "image/svg+xml"), None).source
            assert isinstance(source, bytes)
            drawn = images.upright_rgb(images.open_image(source))
            assert drawn.getpixel((4, 4)) == (255, 255, 255)


def test_questions_and_pictures_are_not_logged(
    open_one: TestClient, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level("DEBUG"):
        assert (
            ask(open_one, pictured("a very private question", data_url(jpeg(1)))).status_code == 200
        )
        assert ask(open_one, pictured("a very private question", "data:x")).status_code == 400
    assert "very private" not in caplog.text + "".join(capfd.readouterr())
