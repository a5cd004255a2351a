"""The server that other tests describe photos with: it starts, sees, and goes away."""

from __future__ import annotations

import base64
import importlib.util
import io
import urllib.request
from pathlib import Path

import pytest
from conftest import need
from PIL import Image
from serve import serving

pytestmark = [pytest.mark.local, pytest.mark.slow]


def data_url(colour: str, size_px: tuple[int, int]) -> str:
    out = io.BytesIO()
    Image.new("RGB", size_px, colour).save(out, "JPEG")
    return f"data:image/jpeg;base64,{base64.b64encode(out.getvalue()).decode()}"


def test_the_openai_client_gets_an_answer_about_an_image(tmp_path: Path) -> None:
    for package in ("torch", "transformers", "fastapi", "uvicorn"):
        need(importlib.util.find_spec(package), f"{package} is missing (transformers[serving])")
    import openai

    with serving(tmp_path) as server:
        with openai.OpenAI(base_url=server.url, api_key="none", max_retries=0) as client:
            assert [model.id for model in client.models.list()] == [server.model]
            said = []
            for colour in ("red", "blue"):
                image = {"type": "image_url", "image_url": {"url": data_url(colour, (60, 40))}}
                answer = client.chat.completions.create(
                    model=server.model,
                    max_tokens=8,
                    temperature=0,
                    messages=[
                        {
                            "role": "user",
                            "content": [image, {"type": "text", "text": "Describe it."}],
                        }  # type: ignore[list-item]
                    ],
                )
                said.append(answer.choices[0].message.content)
                assert answer.usage is not None
                assert answer.usage.prompt_tokens > 16  # the image's tokens are among them
        assert all(said)
        assert said[0] != said[1]
    with pytest.raises(OSError):
        urllib.request.urlopen(server.url, timeout=2)
