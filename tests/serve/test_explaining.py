"""POST /api/explain: where the model looked, and what the experts see."""

from __future__ import annotations

import base64
import io
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the extra serve is not installed")
pytest.importorskip("rapidocr", reason="the extra facts is not installed")

from fastapi.testclient import TestClient
from PIL import Image as Pillow

from looksay.data.scenes import Scenes
from looksay.serve.api import create_app
from looksay.serve.shelf import Shelf

pytestmark = [pytest.mark.local, pytest.mark.slow]


def asked(model: str, answer: str, pictures: int = 1) -> dict[str, Any]:
    shown = []
    for number in range(pictures):
        out = io.BytesIO()
        signed(number).save(out, "PNG")
        data = base64.b64encode(out.getvalue()).decode()
        shown.append({"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}})
    question = {"type": "text", "text": "Describe the picture in detail."}
    return {
        "model": model,
        "messages": [
            {"role": "user", "content": [*shown, question]},
            {"role": "assistant", "content": answer},
        ],
    }


def signed(number: int) -> Pillow.Image:
    """A scene with a sign, large enough to be read."""
    world = Scenes(0, "test")
    signs = [scene for n in range(60) if (scene := world.scene(n)).sign is not None]
    return signs[number].image().resize((512, 512))


@pytest.fixture(scope="module")
def client() -> Any:
    shelf = Shelf({"mini": "mini", "echo": "echo"})
    with TestClient(create_app(shelf, experts=["ocr"]), base_url="http://127.0.0.1") as found:
        yield found


def test_the_page_gets_an_overlay_words_and_what_the_experts_see(client: Any) -> None:
    found = client.post("/api/explain", json=asked("mini", "There is a sign.")).json()
    (picture,) = found["pictures"]
    head, data = picture["overlay"].split(",")
    assert head == "data:image/png;base64"
    with Pillow.open(io.BytesIO(base64.b64decode(data))) as overlay:
        assert overlay.size[0] == overlay.size[1]
    assert picture["words"].startswith("The answer rests")
    assert '"' in found["experts"]  # what was read is quoted


def test_what_cannot_be_explained_says_why(client: Any) -> None:
    said = client.post("/api/explain", json=asked("echo", "Echo."))
    assert said.status_code == 400
    assert "where it looked" in said.json()["error"]["message"]
    nothing = client.post("/api/explain", json=asked("mini", " "))
    assert nothing.status_code == 400
    blind = client.post("/api/explain", json=asked("mini", "A sign.", pictures=0))
    assert blind.status_code == 400
