"""What is written where, what is never overwritten, and that everything can be taken back."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from conftest import need
from pictures import encoded, jpeg, picture, put
from PIL import Image

import looksay
from looksay.api import Library
from looksay.backends.base import Profile
from looksay.errors import InputError, LooksayError
from looksay.library import files, xmp
from looksay.types import Completion

PAGE = "Harbour ![](a.jpg) and ![Old words](b.jpg) and <img src=c.jpg>\n"


class Model:
    """A backend that says what it is told, by the number of the request."""

    name, fingerprint = "model", "1"

    def __init__(self, text: str = "Two boats at a quay.", **profile: Any) -> None:
        self.text, self.profile = text, Profile(**profile)

    def complete(self, conversations: Any, options: Any) -> Any:
        for index, _ in enumerate(conversations):
            yield Completion(index, self.text.format(index))

    def stream(self, conversation: Any, options: Any) -> Any:
        yield self.text


@pytest.fixture
def site(tmp_path: Path) -> Path:
    for n, name in enumerate("abc"):
        put(tmp_path / f"{name}.jpg", jpeg(n))
    put(tmp_path / "alone.jpg", jpeg(9))
    put(tmp_path / "page.md", PAGE)
    with looksay.Library(tmp_path) as library:
        library.scan()
    return tmp_path


def snapshot(folder: Path) -> dict[str, bytes]:
    return {
        p.relative_to(folder).as_posix(): p.read_bytes()
        for p in folder.rglob("*")
        if p.is_file() and not p.name.startswith("looksay.db")
    }


def words(folder: Path) -> dict[str, tuple[str, str]]:
    with looksay.Library(folder) as library:
        return {t.name: (w.state, w.text) for t, w in library.targets()}


# --- which states are written -----------------------------------------------------------------------


def test_models_words_are_written_only_when_asked_for_or_accepted(site: Path) -> None:
    before = snapshot(site)
    with looksay.Library(site) as library:
        library.describe(Model())
        report = library.apply()
        assert (report.files, report.left_ai) == ([], 3)
        assert snapshot(site) == before
        library.decide(site / "a.jpg", "accept")
        assert library.apply().files == ["page.md"]
        assert (site / "page.md").read_text() == PAGE.replace("![](a", "![Two boats at a quay.](a")
        report = library.apply(include_ai=True)
        assert set(report.files) == {"page.md", "alone.jpg.xmp"}
        assert '<img src=c.jpg alt="Two boats at a quay.">' in (site / "page.md").read_text()
        assert "Old words" in (site / "page.md").read_text()


def test_drafts_are_written_only_once_accepted(site: Path) -> None:
    before = snapshot(site)
    with looksay.Library(site) as library:
        library.describe("echo")
        assert library.apply(include_ai=True).left_drafts == {"echo": 3}
        assert snapshot(site) == before
        library.decide(site / "c.jpg", "accept")
        assert library.apply().texts == 1
        assert 'src=c.jpg alt="Echo ' in (site / "page.md").read_text()


def test_rejected_and_cleared_words_are_never_written(site: Path) -> None:
    with looksay.Library(site) as library:
        library.describe(Model())
        library.decide(site / "a.jpg", "reject")
        library.decide(site / "c.jpg", "clear")
        library.decide(site / "alone.jpg", "clear")
        assert library.apply(include_ai=True).files == []
        assert library.describe(Model()).described == 0
        other = Model("A red boat.")
        other.name = "other"
        assert (
            library.describe(other).described == 1
        )  # the rejected one may get new words, the others not
        library.apply(include_ai=True)
        assert "A red boat." in (site / "page.md").read_text()


def test_decoration_is_written_where_it_was_decided_never_where_it_was_proposed(site: Path) -> None:
    with looksay.Library(site) as library:
        library.describe(Model("DECORATIVE"))
        assert library.apply(include_ai=True).files == []
        library.decide(site / "c.jpg", "decorative")
        library.decide(site / "alone.jpg", "decorative")
        assert library.apply().files == ["page.md"]
        assert 'src=c.jpg alt="">' in (site / "page.md").read_text()
        assert library.apply().files == []


# --- human words ------------------------------------------------------------------------------------


def test_words_of_a_person_are_not_overwritten_by_photo_level_words(site: Path) -> None:
    put(site / "other.md", "![](b.jpg)")
    table = put(site.parent / "t.csv", "photo,page,occurrence,text\nb.jpg,,0,Words for the photo\n")
    with looksay.Library(site) as library:
        library.scan()
        library.describe(Model(), which="all")
        library.import_csv(table)
        library.apply(include_ai=True)
    assert "![Old words](b.jpg)" in (site / "page.md").read_text()
    assert (site / "other.md").read_text() == "![Words for the photo](b.jpg)"


def test_words_of_a_person_want_an_explicit_replacement(site: Path) -> None:
    with looksay.Library(site) as library:
        library.describe(Model(), which="all")
        for state in ("accept", "reject", "decorative", "clear"):
            with pytest.raises(LooksayError, match="--replace"):
                library.decide(site / "b.jpg", state, page="page.md")
        library.decide(site / "b.jpg", "edit", "New words", page="page.md")
        library.apply()
    assert "![New words](b.jpg)" in (site / "page.md").read_text()


def test_editing_by_hand_is_a_decision_too(site: Path) -> None:
    with looksay.Library(site) as library:
        library.decide(site / "a.jpg", "edit", "First words", page="page.md")
        library.decide(site / "c.jpg", "edit", "Not yet written", page="page.md")
        library.apply()
        page = site / "page.md"
        page.write_text(page.read_text().replace("First words", "My own words"))
        library.scan()
        assert library.apply(include_ai=True).files == []
        assert "![My own words](a.jpg)" in page.read_text()
        library.decide(site / "a.jpg", "edit", "Decided later", page="page.md")
        library.apply()
        assert "![Decided later](a.jpg)" in page.read_text()


def test_words_typed_while_a_decision_waits_win(site: Path) -> None:
    page = site / "page.md"
    with looksay.Library(site) as library:
        library.decide(site / "a.jpg", "edit", "Decided", page="page.md")
        page.write_text(page.read_text().replace("![](a", "![Typed](a"))
        library.scan()
        library.apply()
    assert "![Typed](a.jpg)" in page.read_text()


def test_deleting_by_hand_is_a_decision_too(site: Path) -> None:
    page = site / "page.md"
    with looksay.Library(site) as library:
        library.describe(Model())
        library.apply(include_ai=True)
        page.write_text(page.read_text().replace("![Two boats at a quay.](a", "![](a"))
        assert library.scan().cleared == 1
        assert library.apply(include_ai=True).files == []
        assert library.describe(Model(), again=True).described == 2
        assert library.apply(include_ai=True).files == []
    assert "![](a.jpg)" in page.read_text()
    assert words(site)["a.jpg on page.md"] == ("cleared", "")


def test_a_new_showing_above_an_old_one_is_no_deletion(site: Path) -> None:
    page = put(site / "two.md", "![](a.jpg)\n")
    with looksay.Library(site) as library:
        library.scan()
        library.describe(Model())
        library.apply(include_ai=True)
        page.write_text("![](a.jpg)\n\nbetween\n\n" + page.read_text())
        assert library.scan().cleared == 0
        library.describe(Model())
        library.apply(include_ai=True)
    assert page.read_text().count("![Two boats at a quay.](a.jpg)") == 2


def test_swapping_two_texts_by_hand_stays(site: Path) -> None:
    page = put(site / "two.md", "![](a.jpg) ![](a.jpg)\n")
    with looksay.Library(site) as library:
        library.scan()
        for n, text in enumerate(("One", "Two")):
            library.decide(site / "a.jpg", "edit", text, page="two.md", occurrence=n)
        library.apply()
        page.write_text("![Two](a.jpg) ![One](a.jpg)\n")
        library.scan()
        assert library.apply().files == []
    assert page.read_text() == "![Two](a.jpg) ![One](a.jpg)\n"


# --- files that changed, faults ---------------------------------------------------------------------


def test_a_file_that_changed_since_the_scan_is_refused(site: Path) -> None:
    put(site / "other.md", "![](a.jpg)")
    with looksay.Library(site) as library:
        library.scan()
        library.describe(Model())
        put(site / "page.md", PAGE + "One more line.\n")
        report = library.apply(include_ai=True)
        assert "other.md" in report.files
        assert [n for n, _ in report.refused] == ["page.md"]
        assert "looksay scan" in report.refused[0][1]
        assert (site / "page.md").read_text() == PAGE + "One more line.\n"
        library.scan()
        library.describe(Model())  # what stands around the images has changed
        assert library.apply(include_ai=True).files == ["page.md"]


def test_undo_is_exact_and_leaves_what_changed_since(site: Path) -> None:
    before = snapshot(site)
    with looksay.Library(site) as library:
        library.describe(Model())
        library.apply(include_ai=True)
        after = snapshot(site)
        put(site / "page.md", after["page.md"] + b"A person's line.\n")
        report = library.undo()
        assert [n for n, _ in report.refused] == ["page.md"]
        assert report.files == ["alone.jpg.xmp"]
        assert "A person's line." in (site / "page.md").read_text()
        put(site / "page.md", after["page.md"])
        assert library.undo().files == ["page.md"]
        assert snapshot(site) == before
        with pytest.raises(InputError, match="no apply to undo"):
            library.undo()
        report = library.scan()
        assert (report.new, report.changed, report.gone, report.cleared) == (0, 0, 0, 0)
        assert library.describe(Model()).described == 0
        library.apply(include_ai=True)
        assert snapshot(site) == after


def test_applies_are_undone_one_by_one(site: Path) -> None:
    states = [snapshot(site)]
    with looksay.Library(site) as library:
        for n in range(3):
            library.decide(site / "a.jpg", "edit", f"Words {n}", page="page.md")
            library.apply()
            states.append(snapshot(site))
        for state in reversed(states[:-1]):
            library.undo()
            assert snapshot(site) == state


def test_a_dry_run_writes_nothing_and_shows_what_apply_would_do(site: Path) -> None:
    put(site / "crlf.html", b"<p>\r\n<img src='a.jpg'>\r\n</p>")
    put(site / "odd.html", "<p>one\u2028two\x0b\x85<img src='a.jpg'>")
    put(site / "한글.md", "가 ![](c.jpg)\n")
    need(shutil.which("git"), "git, to apply the diff")
    with looksay.Library(site) as library:
        library.scan()
        library.describe(Model('Say "hi" | 가 🎉'))
        before = snapshot(site)
        planned = library.apply(include_ai=True, dry_run=True)
        assert snapshot(site) == before
        copy = site.parent / "copy"
        shutil.copytree(site, copy, ignore=shutil.ignore_patterns("looksay.db*"))
        patch = put(site.parent / "changes.diff", planned.diff)
        done = subprocess.run(
            ["git", "apply", str(patch)], cwd=copy, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        written = library.apply(include_ai=True)
        assert (written.files, written.texts) == (planned.files, planned.texts)
        assert snapshot(copy) == snapshot(site)


def test_crlf_and_lone_cr_stay(site: Path) -> None:
    put(site / "crlf.md", b"one\r\n\r\n![](a.jpg)\r\nthree\r\n")
    put(site / "cr.html", b"one\r<img src=a.jpg>\rthree\r")
    with looksay.Library(site) as library:
        library.scan()
        library.decide(site / "a.jpg", "edit", "Two\nlines", page="crlf.md")
        library.decide(site / "a.jpg", "edit", "Two words", page="cr.html")
        library.apply()
    assert (site / "crlf.md").read_bytes() == b"one\r\n\r\n![Two\r\nlines](a.jpg)\r\nthree\r\n"
    assert (site / "cr.html").read_bytes() == b'one\r<img src=a.jpg alt="Two words">\rthree\r'


@pytest.mark.parametrize("step", ["open", "write", "replace"])
def test_a_fault_while_writing_leaves_the_old_file(
    site: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = snapshot(site)

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with looksay.Library(site) as library:
        library.describe(Model())
        if step == "replace":
            monkeypatch.setattr(Path, "replace", fail)
        else:
            monkeypatch.setattr(files.os, "fsync", fail)
        if step == "open":
            monkeypatch.setattr(files, "temporary", lambda path: path / "no" / "such")
        report = library.apply(include_ai=True)
        monkeypatch.undo()
        assert report.files == []
        assert len(report.refused) == 2
        assert snapshot(site) == before
        assert set(library.apply(include_ai=True).files) == {"page.md", "alone.jpg.xmp"}


def test_a_long_file_name_can_be_written(site: Path) -> None:
    name = "가" * 80 + ".md"  # 243 bytes
    put(site / name, "![](a.jpg)")
    with looksay.Library(site) as library:
        library.scan()
        library.decide(site / "a.jpg", "edit", "Words", page=name)
        assert library.apply().refused == []
    assert (site / name).read_text("utf-8") == "![Words](a.jpg)"


def test_permissions_and_links_stay(site: Path) -> None:
    real = put(site / "sub/real.md", "![](../a.jpg)")
    real.chmod(0o640)
    with looksay.Library(site) as library:
        library.scan()
        library.decide(site / "a.jpg", "edit", "Words", page="sub/real.md")
        library.apply()
    assert real.stat().st_mode & 0o777 == 0o640


# --- near-duplicates --------------------------------------------------------------------------------


@pytest.fixture
def copies(tmp_path: Path) -> Path:
    for name, quality in (("1-full.jpg", 95), ("2-small.jpg", 85), ("3-tiny.jpg", 75)):
        put(tmp_path / name, encoded(picture(4, (600, 450)), "JPEG", quality=quality))
        with looksay.Library(tmp_path) as library:  # in order, so that the first one leads
            assert library.scan().problems == []
    return tmp_path


def test_near_duplicates_share_words_only_after_review(copies: Path) -> None:
    with looksay.Library(copies) as library:
        report = library.describe(Model())
        assert (report.described, report.waiting) == (1, 2)
        assert library.apply(include_ai=True).files == ["1-full.jpg.xmp"]
        library.decide(copies / "1-full.jpg", "accept")
        assert library.apply().files == ["2-small.jpg.xmp", "3-tiny.jpg.xmp"]


def test_a_review_that_was_taken_back_is_no_longer_shared(copies: Path) -> None:
    with looksay.Library(copies) as library:
        library.describe(Model())
        library.decide(copies / "1-full.jpg", "accept")
        library.decide(copies / "1-full.jpg", "clear")
        assert library.apply().files == []


def test_near_duplicates_do_not_wait_for_a_photo_that_needs_no_words(copies: Path) -> None:
    put(copies / "page.md", "![Words of a person](1-full.jpg)")
    with looksay.Library(copies) as library:
        library.scan()
        report = library.describe(Model())
        assert (report.described, report.waiting) == (2, 0)


def test_near_duplicates_do_not_wait_for_a_photo_that_is_gone(copies: Path) -> None:
    with looksay.Library(copies) as library:
        library.describe(Model())
        (copies / "1-full.jpg").unlink()
        library.scan()
        assert library.describe(Model()).described == 2


# --- import and export ------------------------------------------------------------------------------


def take(site: Path, text: str | bytes) -> Any:
    with looksay.Library(site) as library:
        return library.import_csv(put(site.parent / "texts.csv", text))


HEAD = "photo,page,occurrence,text"


def test_import_takes_what_spreadsheets_write(site: Path) -> None:
    text = f'\ufeff{HEAD},language,decorative\r\na.jpg,page.md,0,"Say ""hi"",\r\n가 나",ko,\r\n./c.jpg,.\\page.md,0,,,yes\r\n'
    report = take(site, (text + "alone.jpg,,,For itself,,\r\n\r\n").encode())
    assert (report.imported, report.problems) == (3, [])
    with looksay.Library(site) as library:
        library.apply()
    page = (site / "page.md").read_text("utf-8")
    assert '![Say "hi",\n가 나](a.jpg)' in page
    assert '<img src=c.jpg alt="">' in page
    assert "For itself" in (site / "alone.jpg.xmp").read_text("utf-8")


def test_bad_rows_are_told_with_their_line_and_the_others_are_taken(site: Path) -> None:
    rows = [
        "a.jpg,page.md,0,Good",
        "nowhere.jpg,,0,x",
        "a.jpg,page.md,7,x",
        "a.jpg,page.md,one,x",
        "a.jpg,page.md,-1,x",
    ]
    rows += [
        "a.jpg,page.md,99999999999999999999999,x",
        "a.jpg,page.md,0,x,extra",
        "b.jpg,nowhere.md,0,x",
        "c.jpg,page.md,0,",
        "short",
    ]
    report = take(site, "\n".join([HEAD, *rows]))
    assert report.imported == 1
    assert [line for line, _ in report.problems] == [3, 4, 5, 6, 7, 8, 9, 11]
    assert report.blank == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "found nothing"),
        ("photo page occurrence text\n", "lacks photo"),
        ("photo,page,text\n", "lacks occurrence"),
        (f"{HEAD},colour\n", "unknown columns: colour"),
        (f'{HEAD}\na.jpg,page.md,0,"open\n', "not valid CSV"),
        (f"{HEAD}\na.jpg,page.md,0,é\n".encode("latin-1"), "not UTF-8"),
        (b"\xff\xfe" + HEAD.encode("utf-16-le"), "not UTF-8"),
        (b"PK\3\4\0\0", "lacks photo"),
    ],
)
def test_what_is_no_such_csv_takes_nothing(site: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        take(site, text)
    with looksay.Library(site) as library:
        assert library.status().decisions == {}


def test_an_exported_csv_imported_again_changes_nothing(site: Path) -> None:
    put(
        site / "deco.html",
        "<img src=a.jpg alt='' role=presentation> <img src=b.jpg alt='two\n  lines'>",
    )
    with looksay.Library(site) as library:
        library.scan()
        library.describe(Model('=1+1, he said "no". It\'s 가 🎉.'))
        library.decide(site / "a.jpg", "accept", page="page.md")
        library.decide(site / "alone.jpg", "edit", "Two\nlines; and, more")
        before = {t.name: w for t, w in library.targets()}
        table = site.parent / "out.csv"
        assert library.export("csv", table) == len(before)
        assert b",\"'=1+1, he said" in table.read_bytes()  # no spreadsheet computes it
        report = library.import_csv(table)
        assert (report.imported, report.problems) == (0, [])
        assert {t.name: w for t, w in library.targets()} == before
        library.apply()
        after = snapshot(site)
        library.export("csv", table)
        assert library.import_csv(table).imported == 0
        assert library.apply().files == []
        assert snapshot(site) == after


def test_the_gallery_holds_no_markup_of_its_texts(site: Path) -> None:
    from html.parser import HTMLParser

    nasty = '"><script>alert(1)</script><img src=x onerror=alert(2)> {{ 7*7 }} {% raw %}'
    put(site / "x<b>&'.jpg", jpeg(30))
    put(site / "javascript:alert(1).jpg", jpeg(31))
    with looksay.Library(site) as library:
        library.scan()
        for name in ("alone.jpg", "x<b>&'.jpg", "javascript:alert(1).jpg"):
            library.decide(site / name, "edit", nasty, extended=nasty)
        out = site.parent / "gallery.html"
        library.export("html", out)
        library.export("jsonl", site.parent / "out.jsonl")
    seen: list[tuple[str, dict[str, str | None]]] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            seen.append((tag, dict(attrs)))

    Reader().feed(out.read_text("utf-8"))
    assert "script" not in [tag for tag, _ in seen]
    assert all(not key.startswith("on") for _, attrs in seen for key in attrs)
    assert all(a["src"].startswith("data:image/jpeg;base64,") for t, a in seen if t == "img")
    assert nasty in [a["alt"] for t, a in seen if t == "img"]
    assert not [
        a["href"] for t, a in seen if t == "a" and (a["href"] or "").startswith("javascript:")
    ]
    assert "49" not in [a.get("alt") for _, a in seen]


def test_a_file_that_cannot_be_put_back_does_not_bar_the_way(tmp_path: Path) -> None:
    for name in ("a", "b"):
        Image.new("RGB", (9, 9), (name == "a" and "red") or "blue").save(tmp_path / f"{name}.png")
        (tmp_path / f"{name}.md").write_text(f"![]({name}.png)\n", "utf-8")
    with Library(tmp_path) as library:
        library.scan()
        for name in ("a", "b"):
            library.decide(tmp_path / f"{name}.png", "edit", f"The {name}.")
            library.apply(tmp_path / f"{name}.md")
        (tmp_path / "b.md").write_text("Somebody else was here.\n", "utf-8")
        first = library.undo()
        assert (first.files, [f for f, _ in first.refused]) == (["a.md"], ["b.md"])
        assert (tmp_path / "a.md").read_text("utf-8") == "![](a.png)\n"
        (tmp_path / "b.md").write_text("![The b.](b.png)\n", "utf-8")
        assert library.undo().files == ["b.md"]
        with pytest.raises(InputError, match="no apply"):
            library.undo()


def test_a_sidecar_that_may_be_of_two_photos_is_of_none(tmp_path: Path) -> None:
    for name in ("a.jpg", "a.png"):
        Image.new("RGB", (9, 9), "green").save(tmp_path / name)
    (tmp_path / "a.xmp").write_bytes(xmp.write(None, "Whose?", "", "en"))
    with Library(tmp_path) as library:
        assert library.scan().missing == 2


def test_an_old_export_never_makes_a_models_words_a_persons(site: Path, tmp_path: Path) -> None:
    table = tmp_path / "old.csv"
    with looksay.Library(site) as library:
        library.scan()
        library.describe(Model("Two boats at a quay, number {}."))
        library.export("csv", table)
        library.describe(Model("Quite another text, number {}."), again=True)
        library.decide(site / "a.jpg", "edit", "A person's words.")
        report = library.import_csv(table)
        assert report.imported == 0
        assert library.status().decisions == {"human": 1}
        assert library.apply().texts == 1


def test_semicolons_of_a_spreadsheet_are_understood(site: Path, tmp_path: Path) -> None:
    table = tmp_path / "texts.csv"
    table.write_text(
        'photo;page;occurrence;text\na.jpg;page.md;0;"Boats, two; at a quay."\n', "utf-8"
    )
    with looksay.Library(site) as library:
        library.scan()
        assert library.import_csv(table).imported == 1
        library.apply()
    assert "![Boats, two; at a quay.](a.jpg)" in (site / "page.md").read_text("utf-8")


def test_accepting_in_an_old_export_does_not_replace_a_persons_later_words(
    site: Path, tmp_path: Path
) -> None:
    table = tmp_path / "old.csv"
    with looksay.Library(site) as library:
        library.scan()
        library.describe(Model("Two boats at a quay, number {}."))
        library.export("csv", table)
        table.write_text(table.read_text("utf-8-sig").replace(",ai,", ",reviewed,"), "utf-8")
        library.decide(site / "a.jpg", "edit", "A person's words.")
        report = library.import_csv(table)
        assert [reason for _, reason in report.problems] == [
            "a person's words stand there since the export: \"A person's words.\""
        ]
        assert report.imported == 2  # the other rows are taken all the same
        assert library.status().decisions == {"human": 1, "reviewed": 2}
