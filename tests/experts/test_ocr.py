"""Text in pictures: what is read is read right, and what cannot be read is not quoted."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from conftest import need
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFont

EXAMPLES = Path(__file__).parents[2] / "examples/site/images"


@pytest.fixture(scope="module")
def reader():
    need(find_spec("rapidocr"), 'rapidocr is not installed: pip install ".[facts]"')
    from looksay.experts.ocr import Reader

    return Reader(threads=1, korean=False)


def written(text: str, font: object, *, size=(700, 160), at=(40, 50), ink="black", ground="white"):
    image = Image.new("RGB", size, ground)
    ImageDraw.Draw(image).text(at, text, font=font, fill=ink)
    return image


@pytest.mark.parametrize(
    ("text", "ink", "ground"),
    [
        ("Sign in to your account", "black", "white"),
        ("Ferry timetable", "white", "#204060"),
        ("NO SWIMMING", "#a01010", "#f0e8d0"),
        ("Gate 12, platform 3", "black", "#c8d8c8"),
    ],
)
def test_reads_words_and_says_where(reader, text, ink, ground):
    image = written(text, ImageFont.load_default(44), ink=ink, ground=ground)
    (line,) = reader.read(image)
    assert line.certain, line
    assert (line.text, line.engine) == (text, "rapidocr")
    assert 0.95 <= line.score <= 1
    left, top, width, height = line.box
    assert 20 <= left <= 46
    assert 30 <= top <= 62
    assert 30 <= height <= 80
    right = 40 + ImageFont.load_default(44).getlength(text)
    assert abs(left + width - right) < 25


def test_boxes_are_in_pixels_of_the_picture_that_was_given(reader):
    font = ImageFont.load_default(120)
    image = written("Harbour office", font, size=(2600, 1400), at=(900, 700))
    (line,) = reader.read(image)
    assert line.text == "Harbour office"
    left, top, width, height = line.box
    assert abs(left - 900) < 60
    assert abs(left + width - 900 - font.getlength("Harbour office")) < 60
    assert 660 < top < 760
    assert 80 < height < 240


@pytest.mark.parametrize("size", [(1, 1), (3, 3), (2000, 1), (1, 2000), (400, 300)])
def test_nothing_is_read_where_nothing_is_written(reader, size):
    assert [line for line in reader.read(Image.new("RGB", size, "#88a0b0")) if line.certain] == []


def test_a_word_cut_off_by_the_edge_is_not_quoted(reader):
    image = written("MUSEUM", ImageFont.load_default(60), size=(180, 140), at=(24, 30))
    lines = reader.read(image)
    assert lines
    assert not any(line.certain for line in lines)


def test_a_full_page_costs_no_more_than_its_tallest_lines(reader, monkeypatch):
    from looksay.experts import ocr

    monkeypatch.setattr(ocr, "MAX_LINES", 3)
    image = Image.new("RGB", (800, 900), "white")
    draw = ImageDraw.Draw(image)
    draw.text((40, 30), "Notice to sailors", font=ImageFont.load_default(60), fill="black")
    for i in range(8):
        draw.text(
            (40, 160 + 80 * i),
            f"Line number {i} of the page",
            font=ImageFont.load_default(24),
            fill="black",
        )
    lines = reader.read(image)
    assert len(lines) == 9
    assert sum(bool(line.text) for line in lines) == 3
    assert lines[0].text == "Notice to sailors"


@pytest.mark.parametrize(
    "text",
    [
        "МОСКВА",
        "КАССА",
        "Добро пожаловать",
        "Рыбный рынок",
        "Έξοδος",
        "ΜΟΥΣΕΙΟ",
        "Lối ra",
        "Ելք",
        "ممنوع",
    ],
)
def test_scripts_that_it_cannot_read_are_not_quoted(reader, text):
    font = Path("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf")
    need(font.is_file(), "the DejaVu fonts are not at /usr/share/fonts (Debian: fonts-dejavu-core)")
    lines = reader.read(written(text, ImageFont.truetype(str(font), 44)))
    assert [line.text for line in lines if line.certain] == []


def test_korean_is_not_quoted_without_tesseract(reader):
    with Image.open(EXAMPLES / "market-sign.jpg") as image:
        assert [line.text for line in reader.read(image.convert("RGB")) if line.certain] == []


def test_korean_is_read_with_tesseract():
    need(find_spec("rapidocr"), 'rapidocr is not installed: pip install ".[facts]"')
    need(shutil.which("tesseract"), "tesseract is not installed (Debian: tesseract-ocr-kor)")
    from looksay.experts import _tesseract
    from looksay.experts.ocr import Reader

    need(_tesseract.find("kor"), "tesseract has no Korean data (Debian: tesseract-ocr-kor)")
    with Image.open(EXAMPLES / "market-sign.jpg") as image:
        (line,) = (found for found in Reader(threads=1).read(image.convert("RGB")) if found.certain)
    assert (line.text, line.engine) == ("항구 시장", "tesseract")
    assert line.score >= _tesseract.MIN_SCORE
    assert 120 < line.box[0] < 200


@pytest.mark.parametrize("program", ["/no/such/program", sys.executable])
def test_a_tesseract_that_is_gone_or_fails_reads_nothing(program):
    need(find_spec("cv2"), 'OpenCV is not installed: pip install ".[facts]"')
    import numpy as np

    from looksay.experts._tesseract import Tesseract

    crop = np.full((40, 200, 3), 255, np.uint8)
    assert Tesseract(program).read_korean([(0, crop)]) == {}


def test_a_tesseract_that_hangs_reads_nothing(monkeypatch):
    need(find_spec("cv2"), 'OpenCV is not installed: pip install ".[facts]"')
    import numpy as np

    from looksay.experts import _tesseract

    hang = [sys.executable, "-c", "import time; time.sleep(60)"]
    run = _tesseract._run
    monkeypatch.setattr(_tesseract, "TIMEOUT_S", 0.5)
    monkeypatch.setattr(_tesseract, "_run", lambda command, data: run(hang, data))
    crop = np.full((40, 200, 3), 255, np.uint8)
    assert _tesseract.Tesseract("tesseract").read_korean([(0, crop)]) == {}


def test_the_console_stays_quiet(reader, capfd):
    from looksay.experts.ocr import Reader

    image = written("Quiet please", ImageFont.load_default(40))
    Reader(threads=1, korean=False).read(image)
    reader.read(Image.new("RGB", (200, 200), "white"))
    assert capfd.readouterr() == ("", "")


def test_letters_left_out_show_as_gaps():
    from looksay.experts._script import doubt

    # What the recogniser gave for "Xin chào Việt Nam": it knows no ễ and no ệ, and says so nowhere.
    columns = [[2, 4, 7], [11, 14, 17, 20], [25, 28, 32], [37, 40, 44]]
    assert doubt("Xin chào Vit Nam", 0.99, [1.0] * 13, columns) == "letters left out"
    # "Proszę zamykać drzwi", complete.
    columns = [[2, 4, 6, 9, 11, 14], [18, 21, 24, 28, 31, 34, 36], [41, 43, 45, 48, 51]]
    assert doubt("Proszę zamykać drzwi", 0.99, [1.0] * 18, columns) == ""


def test_look_alike_words_need_a_latin_neighbour():
    need(find_spec("cv2"), 'OpenCV is not installed: pip install ".[facts]"')
    from looksay.experts.ocr import Line, _settle

    def line(text):
        return Line(text, 0.99, (0, 0, 100, 30), "", "rapidocr")

    assert [found.certain for found in _settle([line("KACCA")])] == [False]
    assert [found.certain for found in _settle([line("KACCA"), line("TOM")])] == [False, False]
    assert [found.certain for found in _settle([line("COAST"), line("Lending library")])] == [
        True,
        True,
    ]


@given(st.text(min_size=1, max_size=40), st.floats(0, 1))
def test_any_text_gets_a_verdict(text, score):
    from looksay.experts._script import doubt

    verdict = doubt(text, score, [score] * len(text))
    assert isinstance(verdict, str)
    if score < 0.95 or not any(c.isalnum() for c in text):
        assert verdict


@given(
    st.text(
        st.characters(categories=["Lo", "Lu", "Ll"], min_codepoint=0x370, max_codepoint=0x1CFF),
        min_size=1,
    )
)
def test_no_foreign_alphabet_is_quoted_however_sure_the_reader_is(text):
    from looksay.experts._script import doubt

    assert doubt(text, 1.0, [1.0] * len(text))


def test_the_expert_hands_over_lines_that_may_be_quoted_in_shares_of_the_picture():
    need(find_spec("rapidocr"), 'rapidocr is not installed: pip install ".[facts]"')
    from looksay.errors import InputError
    from looksay.experts import verbalise
    from looksay.experts.base import Options
    from looksay.experts.loading import load

    expert = load("ocr", Options(threads=1))
    image = written("NO SWIMMING", ImageFont.load_default(44), size=(800, 200), at=(200, 50))
    found = expert.find(image)
    (line,) = found.lines
    assert found.size_px == (800, 200)
    assert line.text == "NO SWIMMING"
    assert line.box[0] == pytest.approx(0.25, abs=0.02)
    assert 0.2 < line.box[1] < 0.35
    assert line.box[2] < 0.7
    assert verbalise.moai(found) == 'The image includes text descriptions: "NO SWIMMING".'
    assert expert.find(Image.new("RGB", (300, 200), "white")).lines == ()
    # With a threshold of the user's own, doubt does not count.
    cut = written("NO SWIMMING", ImageFont.load_default(44), at=(-30, 50))
    assert expert.find(cut).lines == ()
    doubted = load("ocr", Options(threads=1, min_score=0.5))
    assert doubted.find(cut).lines[0].text.endswith("SWIMMING")
    assert doubted.fingerprint != expert.fingerprint
    with pytest.raises(InputError, match="ocr has no models"):
        load("ocr:tesseract")


def test_nothing_is_noted_of_who_uses_it(tmp_path: Path) -> None:
    """onnxruntime keeps an identifier of the device and what was done, where nobody forbids it."""
    need(find_spec("rapidocr"), 'rapidocr is not installed: pip install ".[facts]"')
    code = "from looksay.experts.ocr import Reader; Reader(threads=1, korean=False)"
    home = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    rest = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], env=rest | home, check=True)
    assert not list(tmp_path.rglob("*onnxruntime*"))
