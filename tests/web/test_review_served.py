"""The review's endpoints as clients of any kind see them: who is let in, what is refused, and how."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from web.reviewed import decisions, told
from web.stub import CSP, serving

import looksay
from looksay.library.thumbnails import Thumbnails
from looksay.serve.limits import LOCAL_HOSTS
from looksay.web.desk import Desk
from looksay.web.review import create_app

DOGS = {"path": "dogs.jpg", "page": "walk.md", "occurrence": 0}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return told(tmp_path)


def app(folder: Path, **options: Any) -> Any:
    with looksay.Library(folder) as library:
        db, settings = library.catalog.path, library.settings
    return create_app(db, settings, Thumbnails(folder / ".thumbnails"), who="ana", **options)


@pytest.fixture
def client(folder: Path) -> Iterator[httpx.Client]:
    with (
        serving(app(folder, hosts=LOCAL_HOSTS)) as url,
        httpx.Client(base_url=url, timeout=240) as made,
    ):
        while made.get("/api/progress").json()["stale"]:
            pass
        yield made


def decide(client: httpx.Client, token: str, verb: str = "edit", **more: Any) -> httpx.Response:
    return client.post(
        "/api/decide",
        json={**DOGS, "token": token, "verb": verb, "who": "ana", "text": "Mine.", **more},
    )


def item(client: httpx.Client) -> dict[str, Any]:
    found: dict[str, Any] = client.get("/api/item", params={**DOGS, "reader": "test"}).json()
    return found


def test_the_page_and_its_rules(client: httpx.Client) -> None:
    for address in ("/", "/api/progress", "/api/next?reader=test", "/nothing"):
        answer = client.get(address)
        assert answer.headers["content-security-policy"] == CSP, address
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert client.get("/", headers={"Host": "evil.example"}).status_code == 421
    assert client.get("/docs").status_code == 404


def test_another_sites_page_decides_nothing(client: httpx.Client, folder: Path) -> None:
    body = {**DOGS, "token": "token-0001", "verb": "reject", "who": "x"}
    for headers in (
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/json", "Origin": "http://evil.example"},
        {"Content-Type": "application/json", "Origin": "null"},
    ):
        sent = client.post(
            "/api/decide",
            content=httpx.Request("POST", "http://x", json=body).content,
            headers=headers,
        )
        assert sent.status_code == 403, headers
    assert decisions(folder) == []
    client.headers["Origin"] = str(client.base_url).rstrip("/")
    assert decide(client, "token-0002").status_code == 200


def test_a_key_is_asked_for_before_anything_is_told(folder: Path) -> None:
    with (
        serving(app(folder, key="right")) as url,
        httpx.Client(base_url=url, timeout=240) as client,
    ):
        assert client.get("/").status_code == 200
        photo = "0" * 64
        for address in ("/api/next?reader=test", "/api/progress", f"/api/thumbnail/{photo}/small"):
            assert client.get(address).status_code == 401
        assert decide(client, "token-0001").status_code == 401
        assert client.post("/api/leave", json={"reader": "test"}).status_code == 401
        assert (
            client.get("/api/progress", headers={"Authorization": "Bearer right"}).status_code
            == 200
        )


def test_an_item_says_all_that_is_known(client: httpx.Client) -> None:
    found = item(client)
    assert found["context"]["title"] == "A walk"
    assert found["context"]["before"].endswith("With the dogs.")
    assert [one["model"] for one in found["candidates"]] == [
        "ollama:one",
        "ollama:two",
        "ollama:three",
    ]
    assert [one["verdict"] for one in found["words"]["claims"]] == [
        "supported",
        "rejected",
        "contested",
        "unchecked",
    ]
    assert found["words"]["risk"]["why"][0] == ["rejected", "“three dogs”"]
    assert found["candidates"][2]["risk"]["why"] == [["hedges", "“probably”"]]
    assert found["group"] == ["near.jpg"]
    assert (found["saw"], found["decided"], found["gone"]) == (0, None, False)


def test_a_decision_is_answered_once_and_a_later_one_told_the_first(
    client: httpx.Client, folder: Path
) -> None:
    first = decide(client, "token-0001").json()
    assert decide(client, "token-0001").json() == first
    assert first["decided"]["text"] == "Mine."
    late = decide(client, "token-0002", who="bob", text="Bob's.")
    assert late.status_code == 409
    assert late.json()["by"] == first["decided"]
    assert "ana has decided on this meanwhile" in late.json()["error"]["message"]
    assert item(client)["saw"] == first["saw"]
    assert (
        decide(client, "token-0002", who="bob", text="Bob's.", saw=first["saw"]).status_code == 200
    )
    assert [row.text for row in decisions(folder)] == ["Mine.", "Bob's."]


def test_what_is_decided_leaves_the_queue_at_once(client: httpx.Client) -> None:
    def waiting() -> list[str]:
        found = client.get("/api/next", params={"reader": "test", "number": 10}).json()
        return [one["path"] for one in found["items"]]

    assert waiting() == ["dogs.jpg", "sea.jpg"]
    decide(client, "token-0001")
    assert waiting() == ["sea.jpg"]
    client.post(
        "/api/undo", json={"taken": "token-0001", "token": "token-0002", "who": "ana"}
    ).raise_for_status()
    assert waiting() == ["dogs.jpg", "sea.jpg"]


def test_nobody_is_shown_what_another_looks_at(client: httpx.Client) -> None:
    def first(reader: str) -> list[str]:
        return [
            one["path"]
            for one in client.get("/api/next", params={"reader": reader}).json()["items"]
        ]

    assert first("one") == first("one") == ["dogs.jpg"]
    assert first("two") == ["sea.jpg"]
    assert first("three") == []


def test_who_leaves_lets_go_and_nobody_else_makes_them(client: httpx.Client) -> None:
    def first(reader: str) -> list[str]:
        answer = client.get("/api/next", params={"reader": reader, "number": 10})
        return [one["path"] for one in answer.json()["items"]]

    assert first("one") == ["dogs.jpg", "sea.jpg"]
    sent = {"json": {"reader": "one"}, "headers": {"Origin": "http://evil.example"}}
    assert client.post("/api/leave", **sent).status_code == 403
    assert client.post("/api/leave", content='{"reader": "one"}').status_code == 403
    assert client.post("/api/leave", json={"reader": "two"}).status_code == 200
    assert client.post("/api/leave", json={"reader": ""}).status_code == 422
    assert first("two") == []
    assert client.post("/api/leave", json={"reader": "one"}).status_code == 200
    assert first("two") == ["dogs.jpg", "sea.jpg"]


@pytest.mark.parametrize(
    ("more", "status", "says"),
    [
        ({"verb": "praise"}, 400, "no decision 'praise'"),
        ({"text": " "}, 400, "The text is empty"),
        ({"path": "../looksay.db"}, 410, "not in the library any more"),
        ({"path": "dogs.jpg", "page": "other.md"}, 410, "not in the library any more"),
        ({"token": "x"}, 422, "token"),
        ({"seconds": -1}, 422, "seconds"),
        ({"text": "x" * 20_000}, 422, "text"),
        ({"verb": "accept", "generation": 9999}, 400, "9999"),
    ],
)
def test_what_cannot_be_decided_says_why(
    client: httpx.Client, folder: Path, more: dict[str, Any], status: int, says: str
) -> None:
    answer = decide(client, **{"token": "token-0001", **more})
    assert answer.status_code == status
    assert says in answer.json()["error"]["message"]
    assert decisions(folder) == []


def test_thumbnails(client: httpx.Client, folder: Path) -> None:
    photo = item(client)["photo"]
    answer = client.get(f"/api/thumbnail/{photo}/small")
    assert answer.headers["content-type"] == "image/jpeg"
    assert "immutable" in answer.headers["cache-control"]
    for address in (
        f"{photo}/huge",
        f"{'0' * 64}/small",
        "..%2f..%2flooksay.db/small",
        f"{photo[:-1]}/small",
    ):
        assert client.get(f"/api/thumbnail/{address}").status_code == 404, address
    (folder / "dogs.jpg").unlink()
    assert client.get(f"/api/thumbnail/{photo}/small").content == answer.content
    gone = client.get(f"/api/thumbnail/{photo}/large")
    assert gone.status_code == 404
    assert "the file is gone" in gone.json()["error"]["message"]
    assert item(client)["gone"]


def test_what_other_programs_write_comes_in(client: httpx.Client, folder: Path) -> None:
    with looksay.Library(folder) as library:
        library.decide(folder / "sea.jpg", "edit", "Theirs.", page=str(folder / "walk.md"))
    while client.get("/api/progress").json()["stale"]:
        pass
    found = client.get("/api/next", params={"reader": "test", "number": 10}).json()
    assert [one["path"] for one in found["items"]] == ["dogs.jpg"]


def test_two_desks_bring_the_queue_up_to_date_and_both_know_when_it_is(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("looksay.web.desk.PIECE", 1)
    with looksay.Library(folder) as library:
        file, settings = library.catalog.path, library.settings
    with closing(Desk(file, settings)) as one, closing(Desk(file, settings)) as other:
        one.queue.outdate()
        assert one.keep_up() > 0
        while other.keep_up():
            pass
        assert one.keep_up() == 0, "the other has done what was left"
