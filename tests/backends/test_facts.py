"""The facts backend: short sentences that say nothing that was not measured."""

from __future__ import annotations

import importlib.util
import io
import json
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from conftest import need
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from looksay.backends import _facts_words, facts
from looksay.backends.base import LoadOptions
from looksay.errors import BackendError, LooksayError, MissingDependency
from looksay.types import Conversation, Image, Options

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "examples/site/images"
SENTENCES = {
    "bay-evening.jpg": "Landscape-format photo, mostly blue and purple.",
    "booking-page.png": 'Screenshot with the text "Ellery Ferry", "Book your crossing".',
    "divider.png": "Very wide graphic.",
    "ferry-chart.png": 'Chart in blue with the text "Ferry passengers per month, 2019".',
    "fish-sign.jpg": 'Landscape-format photo, mostly blue, with the text "FRESH FISH".',
    "lighthouse.jpg": "Portrait-format photo, taken in May 2019.",
    "logo.png": "Logo in blue.",
}


@pytest.fixture(scope="module")
def backend():
    need(find_spec("rapidocr"), 'rapidocr is not installed: pip install ".[facts]"')
    return facts.load("", LoadOptions(concurrency=2))


def ask(source: Path | bytes, language: str | None = None) -> Conversation:
    messages = Conversation.ask("Describe it.", Image(source)).messages
    return Conversation(messages, {"language": language} if language else {})


def test_the_example_pictures_in_two_threads(backend):
    names = list(SENTENCES)
    drawn = []

    def feed():
        for name in names:
            drawn.append(name)
            yield ask(IMAGES / name)

    found = {}
    for completion in backend.complete(feed(), Options()):
        assert len(drawn) <= len(found) + 3, (
            "conversations are drawn no further ahead than the workers"
        )
        assert completion.error is None
        assert completion.seconds > 0
        assert json.loads(json.dumps(completion.details)) == completion.details
        found[names[completion.index]] = completion.text
    assert found == SENTENCES


def test_evidence_is_in_the_details(backend):
    (completion,) = backend.complete([ask(IMAGES / "lighthouse.jpg")], Options())
    details = completion.details
    assert details["taken"] == "2019-05-12"
    assert details["camera"] == "Ellery Harbour One"
    assert details["size_px"] == [600, 900], "upright, although stored on its side"
    assert details["kind"]["name"] == "photo"
    assert details["appearance"]["shape"] == "portrait"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("bay-evening.jpg", "파란색과 보라색이 많은 가로 사진."),
        ("fish-sign.jpg", '"FRESH FISH" 글자가 있는 파란색이 많은 가로 사진.'),
        ("lighthouse.jpg", "2019년 5월에 찍은 세로 사진."),
        ("logo.png", "파란색 로고."),
    ],
)
def test_korean_when_asked_for(backend, name, text):
    (completion,) = backend.complete([ask(IMAGES / name, "ko")], Options())
    assert completion.text == text


def test_other_languages_get_english(backend):
    (completion,) = backend.complete([ask(IMAGES / "logo.png", "fr")], Options())
    assert completion.text == "Logo in blue."


def test_korean_signs_are_quoted_where_tesseract_can_read_them(backend):
    from looksay.experts import _tesseract

    need(_tesseract.find("kor"), "tesseract with Korean data is not installed")
    (completion,) = backend.complete([ask(IMAGES / "market-sign.jpg")], Options())
    assert '"항구 시장"' in completion.text
    assert backend.fingerprint.endswith("+kor")


@pytest.mark.parametrize("source", [b"", b"not a picture", Path("/no/such/photo.jpg")])
def test_a_bad_picture_is_an_error_of_its_own(backend, source):
    good = ask(IMAGES / "logo.png")
    found = {c.index: c for c in backend.complete([good, ask(source), good], Options())}
    assert found[1].error
    assert found[1].finish_reason == "error"
    assert found[1].text == ""
    assert found[0].text == found[2].text == "Logo in blue."
    with pytest.raises(LooksayError):
        list(backend.stream(ask(source), Options()))


def test_a_truncated_photo_is_an_error(backend):
    data = (IMAGES / "bay-evening.jpg").read_bytes()
    (completion,) = backend.complete([ask(data[: len(data) // 2])], Options())
    assert "truncated" in (completion.error or "")


def test_a_conversation_without_a_picture_is_an_error(backend):
    (completion,) = backend.complete([Conversation.ask("Hello?")], Options())
    assert "none" in (completion.error or "")


def test_stream_says_the_same(backend):
    assert "".join(backend.stream(ask(IMAGES / "logo.png"), Options())) == "Logo in blue."


def test_profile_and_fingerprint(backend):
    assert backend.name == "facts"
    assert backend.profile.draft
    assert not backend.profile.instructable
    assert not backend.profile.remote
    assert backend.profile.languages == ("en", "ko")
    assert backend.profile.concurrency == 2
    assert backend.fingerprint.startswith(f"facts-{facts.VERSION}")


def test_without_its_packages_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert facts.discover() == []
    with pytest.raises(MissingDependency, match=r'rapidocr.*pip install "\.\[facts\]"'):
        facts.load("", LoadOptions())


def test_packages_that_are_broken_or_too_new_are_named(monkeypatch, tmp_path):
    need(find_spec("rapidocr"), 'rapidocr is not installed: pip install ".[facts]"')
    import cv2

    monkeypatch.delattr(cv2, "CascadeClassifier")
    with pytest.raises(BackendError, match=r"needs version 4.*opencv-python-headless<5"):
        facts.load("", LoadOptions())
    broken = tmp_path / "rapidocr"
    broken.mkdir()
    (broken / "__init__.py").write_text(
        "raise ImportError('libGL.so.1: cannot open shared object')"
    )
    monkeypatch.delitem(sys.modules, "rapidocr", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(BackendError, match=r"cannot be imported: libGL.*force-reinstall"):
        facts.load("", LoadOptions())


def test_a_picture_that_breaks_a_library_is_an_error_of_its_own(backend, monkeypatch):
    from looksay.experts import kind

    def broken(*_, **__):
        raise RuntimeError("assertion failed in resize")

    with monkeypatch.context() as patch:
        patch.setattr(kind, "decide", broken)
        (completion,) = backend.complete([ask(IMAGES / "logo.png")], Options())
    assert "assertion failed in resize" in (completion.error or "")
    (completion,) = backend.complete([ask(IMAGES / "logo.png")], Options())
    assert completion.text == "Logo in blue."


def test_found_where_installed():
    need(find_spec("rapidocr"), 'rapidocr is not installed: pip install ".[facts]"')
    assert facts.discover() == ["facts"]


def test_needs_no_torch():
    need(find_spec("rapidocr"), 'rapidocr is not installed: pip install ".[facts]"')
    code = (
        "import sys; sys.modules['torch'] = None; sys.modules['transformers'] = None\n"
        "from pathlib import Path\n"
        "from looksay.backends import load\n"
        "from looksay.types import Conversation, Image, Options\n"
        f"image = Image(Path({str(IMAGES / 'logo.png')!r}))\n"
        "(done,) = load('facts').complete([Conversation.ask('x', image)], Options())\n"
        "print(done.text)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert (run.stdout.strip(), run.stderr) == ("Logo in blue.", "")


def measured(**changes: object) -> dict[str, object]:
    looks = {
        "light": "normal",
        "tone": "colour",
        "shape": "landscape",
        "main_colours": ["blue", "green"],
    }
    return {
        "size_px": [1200, 800],
        "kind": {"name": "photo", "natural": True, "why": ""},
        "text": [],
        "faces": [],
        "appearance": looks,
        "taken": None,
    } | changes


def quote(text: str, height: int = 60, doubt: str = "") -> dict[str, object]:
    return {"text": text, "box": [100, 100, 30 * len(text), height], "doubt": doubt}


def test_everything_at_once_stays_within_the_usual_length():
    all_facts = measured(
        text=[
            quote("Harbour lending library"),
            quote("Open from nine to noon"),
            quote("Closed on Sundays"),
        ],
        faces=[{}, {}, {}],
        taken="2019-05-12",
    )
    english = _facts_words.sentence(all_facts)
    assert len(english) <= _facts_words.MAX_LENGTH
    assert '"Harbour lending library"' in english
    assert "at least three faces" in english
    assert len(_facts_words.sentence(all_facts, "ko")) <= _facts_words.MAX_LENGTH


def test_sentences():
    assert _facts_words.sentence(measured()) == "Landscape-format photo, mostly blue and green."
    with_face = measured(faces=[{}], taken="2019-05-12")
    assert _facts_words.sentence(with_face) == (
        "Landscape-format photo, mostly blue and green, with at least one face, taken in May 2019."
    )
    assert _facts_words.sentence(with_face, "ko") == (
        "2019년 5월에 찍은 얼굴이 적어도 하나 보이는 파란색과 초록색이 많은 가로 사진."
    )
    grey = {"light": "dark", "tone": "black-and-white", "shape": "square", "main_colours": []}
    unsure = measured(kind={"name": "", "natural": True, "why": "unsure"}, appearance=grey)
    assert _facts_words.sentence(unsure) == "Dark black-and-white square picture."
    assert _facts_words.sentence(unsure, "ko") == "어두운 흑백 정사각형 이미지."


@pytest.mark.parametrize(
    "line",
    [
        quote("Unsure", doubt="unsure reading"),
        quote("small print at the foot of the page", height=12),
        quote("a line so long that quoting it would fill the whole sentence and then some more"),
        quote("1234"),
    ],
)
def test_lines_that_are_not_quoted(line):
    assert '"' not in _facts_words.sentence(measured(text=[line]))


@pytest.mark.parametrize("text", ['The "Kittiwake" inn', "The “Kittiwake”\u200b inn"])
@pytest.mark.parametrize("language", ["en", "ko"])
def test_quotes_inside_a_quotation_are_turned(text, language):
    said = _facts_words.sentence(measured(text=[quote(text)]), language)
    assert "\"The 'Kittiwake' inn\"" in said


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(st.sampled_from('ZX "“”„«»「」\u200b\u202e.:'), max_size=30), max_size=3))
def test_no_line_of_a_picture_leaves_its_quotation_marks(texts):
    """Our own words have neither Z nor X, so none may stand outside of marks."""
    for language in ("en", "ko"):
        said = _facts_words.sentence(measured(text=[quote(text) for text in texts]), language)
        assert said.count('"') % 2 == 0
        assert said.count('"') <= 2 * len(texts)
        assert not set(re.sub('"[^"]*"', "", said)) & set("ZX“”„«»「」")
        assert not set(said) & set("“”„«»「」\u200b\u202e")


def test_the_example_pictures_are_what_the_script_draws(tmp_path):
    sys.path.insert(0, str(ROOT / "examples"))
    try:
        import make_pictures
    finally:
        sys.path.pop(0)
    make_pictures.main(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(p.name for p in IMAGES.iterdir())
    assert sum(p.stat().st_size for p in IMAGES.parent.rglob("*") if p.is_file()) < 600_000
    for path in IMAGES.iterdir():
        with Pillow.open(path) as kept, Pillow.open(tmp_path / path.name) as drawn:
            assert kept.size == drawn.size
            assert kept.getexif() == drawn.getexif()
            # Encoders and font rasterisers differ a little between versions of Pillow.
            small = [i.convert("L").resize((64, 64)).tobytes() for i in (kept, drawn)]
            assert max(abs(a - b) for a, b in zip(*small, strict=True)) <= 12, path.name


def test_bytes_work_like_files(backend):
    out = io.BytesIO()
    Pillow.new("RGB", (300, 300), "crimson").save(out, "PNG")
    (completion,) = backend.complete([ask(out.getvalue())], Options())
    assert completion.text == "Graphic in red."
