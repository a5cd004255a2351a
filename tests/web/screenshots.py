"""Draws the pictures of the pages in docs/, in a real browser: of the chat page, where the shipped model answers about
drawn scenes, and of the review page, with texts and evidence as models might give them.

python tests/web/screenshots.py [chat|review]
"""

from __future__ import annotations

import io
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
WINDOW = {"width": 1080, "height": 800}
MINUTES_MS = 600_000


def drawn(number: int) -> bytes:
    """A scene that `mini` was not trained on, as PNG."""
    from PIL import Image

    from looksay.data.scenes import Scenes
    from looksay.data.scenes.draw import pixels

    out = io.BytesIO()
    Image.fromarray(pixels(Scenes(split="test").scene(number))).save(out, "PNG")
    return out.getvalue()


def talk(page: Any, url: str) -> None:
    """A question about a picture and where the model looked; then two models side by side, in dark colours."""
    from web.hand import answer, send, visit

    page.set_default_timeout(MINUTES_MS)
    visit(page, url)
    files = [
        {"name": f"scene {n}.png", "mimeType": "image/png", "buffer": drawn(n)} for n in (11, 4)
    ]
    page.set_input_files("#files", files[:1])
    page.get_by_alt_text("scene 11.png").wait_for()
    send(page, "Describe this picture.")
    answer(page)
    keep(page, "chat-page.png")
    answer(page).get_by_role("button", name="Where did it look?").click()
    page.get_by_alt_text("the model looked at").wait_for()
    keep(page, "chat-looked.png")
    page.keyboard.press("Escape")
    page.get_by_label("Colours").select_option("dark")
    page.get_by_role("button", name="New conversation").click()
    page.get_by_label("Compare with").select_option("facts")
    page.set_input_files("#files", files[1:])
    page.get_by_alt_text("scene 4.png").wait_for()
    send(page, "Describe this picture.")
    answer(page, 1, 0)
    answer(page, 1, 1)
    keep(page, "chat-compare.png")


def keep(page: Any, name: str) -> None:
    """Save what is in the window, with few colours: a page of text needs no more."""
    from PIL import Image

    shot = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    shot.quantize(128, dither=Image.Dither.NONE).save(ROOT / "docs" / name, optimize=True)


SAID = {
    "ollama:qwen3-vl:8b": "A red and white lighthouse under a blue sky, with two sailing boats probably made of wood.",
    "ollama:llama3.2-vision": "A red and white lighthouse on a green headland under a blue sky.",
    "hub:Salesforce/blip-image-captioning-large": "A striped lighthouse by the sea.",
}
"""The first is said last, so it counts."""
CLAIMS = [  # kind, subject, value, in words, where, what two others say (1: the same)
    ("object", "lighthouse", "", "a lighthouse", "lighthouse", (1.0, 1.0)),
    (
        "attribute",
        "lighthouse",
        "red and white",
        "a red and white lighthouse",
        "red and white",
        (1.0, 0.5),
    ),
    ("object", "sky", "", "a sky", "blue sky", (1.0,)),
    ("count", "boat", "2", "two boats", "two", (0.1, 0.0)),
    ("object", "boat", "", "sailing boats", "sailing boats", (0.3, 0.2)),
    ("attribute", "boat", "wood", "wooden boats", "made of wood", ()),
]


def described(folder: Path) -> None:
    """The example site, with what models might say of its pictures and evidence on one text."""
    from web.reviewed import add

    from looksay.api import Library
    from looksay.describing.claims import Checked, Claim, Evidence, Said, as_records
    from looksay.library.assessments import Assessments

    shutil.copytree(ROOT / "examples" / "site", folder)
    with Library(folder) as library:
        library.scan()
        catalog = library.catalog
        for target in list(catalog.targets.all()):
            if "lighthouse" in target.path:
                continue
            text = f"Words about {Path(target.path).stem.replace('-', ' ')}."
            add(catalog, target.photo_id, "ollama:qwen3-vl:8b", text)
        (light,) = [
            t for t in catalog.targets.all() if t.page == "index.md" and "lighthouse" in t.path
        ]
        for model, text in reversed(SAID.items()):
            add(catalog, light.photo_id, model, text)
        generation = catalog.ledger.words(light).generation_id
        assert generation is not None
        text = catalog.ledger.words(light).text
        checked = [
            Checked(
                Said(Claim(kind, subject, value), ((text.index(part), text.index(part) + len(part)),)),
                words,
                tuple(
                    Evidence(model, "said", support, SAID[model])
                    for model, support in zip(list(SAID)[1:], supports, strict=False)
                ),
                sum(supports) / len(supports) if supports else None,
            )
            for kind, subject, value, words, part, supports in CLAIMS
        ]  # fmt: skip
        Assessments(catalog).add(generation, "drawn", as_records(checked), {})


def review(browser: Any, folder: Path) -> None:
    """The riskiest text with its claims; many at once, dark; and a phone in Korean."""
    from web.reviewed import reviewing

    described(folder)
    with reviewing(folder) as (url, _):
        for name, size, scheme, locale in [
            ("review-page.png", {"width": 1080, "height": 900}, "light", "en-GB"),
            ("review-many.png", {"width": 1080, "height": 800}, "dark", "en-GB"),
            ("review-phone.png", {"width": 400, "height": 860}, "light", "ko"),
        ]:
            page = browser.new_page(viewport=size, color_scheme=scheme, locale=locale)
            page.set_default_timeout(MINUTES_MS)
            page.goto(url)
            page.locator("#photo").wait_for()
            if "many" in name:
                page.locator("#open-bulk").click()
                page.locator("#sample img").first.wait_for()
                page.wait_for_load_state("networkidle")
            keep(page, name)
            page.close()


def main() -> None:
    from playwright.sync_api import sync_playwright

    wanted = sys.argv[1:] or ["chat", "review"]
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox"]
        )
        if "chat" in wanted:
            from web.stub import serving

            from looksay.serve.shelf import Shelf
            from looksay.web.app import create_app

            with serving(create_app(Shelf({"mini": "mini", "facts": "facts"}))) as address:
                page = browser.new_page(viewport=WINDOW, locale="en-GB", color_scheme="light")
                talk(page, address)
        if "review" in wanted:
            review(browser, Path(folder) / "site")
        browser.close()


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / "tests"))
    main()
