"""What a scan finds, what it leaves alone, and what it does when the ground moves under it."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import need
from pictures import encoded, jpeg, picture, put

import looksay
from looksay.errors import InputError
from looksay.library import pages, photos
from looksay.library.scan import ScanReport

POSIX = sys.platform != "win32"


def scan(folder: Path, *paths: Path) -> ScanReport:
    with looksay.Library(folder) as library:
        return library.scan(paths)


def links(folder: Path) -> dict[str, str | None]:
    """What each image on each page resolves to."""
    with looksay.Library(folder) as library:
        rows = library.catalog.rows("SELECT page, src, path FROM placement ORDER BY page, number")
        known = {r["path"] for r in library.catalog.rows("SELECT path FROM place WHERE gone = 0")}
        return {r["src"]: r["path"] if r["path"] in known else None for r in rows}


@pytest.fixture
def unprivileged() -> Iterator[Path]:
    """A folder in which permissions count, also for root."""
    need(POSIX, "permissions as POSIX has them")
    folder = Path(tempfile.mkdtemp()).resolve()
    folder.chmod(0o777)
    was = os.geteuid()
    try:
        if was == 0:
            os.seteuid(65534)
        yield folder
    finally:
        if was == 0:
            os.seteuid(0)
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o777)
        shutil.rmtree(folder)


def test_the_summary_counts_what_is_there(tmp_path: Path) -> None:
    put(tmp_path / "a.jpg", jpeg(1))
    put(tmp_path / "copy of a.jpg", jpeg(1))
    put(tmp_path / "b.png", encoded(picture(2), "PNG"))
    put(tmp_path / "alone.jpg", jpeg(3))
    put(tmp_path / "near.jpg", encoded(picture(2, (600, 450)), "JPEG", quality=95))
    put(tmp_path / "near2.jpg", encoded(picture(2, (600, 450)), "JPEG", quality=80))
    put(tmp_path / "broken.jpg", b"\xff\xd8\xff")
    put(tmp_path / "notes.txt", "![x](a.jpg)")
    put(tmp_path / "node_modules/x.jpg", jpeg(9))
    put(tmp_path / ".hidden/x.jpg", jpeg(9))
    put(
        tmp_path / "page.md",
        "![](a.jpg) ![words](b.png) <img src=a.jpg> <img src=a.jpg alt='' role=presentation>\n"
        "![x](https://example.org/x.png) ![x](nowhere.png) {% include f.html src='b.png' alt=page.alt %}\n",
    )
    put(tmp_path / "page.html", "<img src='a.jpg' alt='words'>")
    report = scan(tmp_path)
    assert (report.files, report.photos, report.near_duplicates) == (6, 5, report.near_duplicates)
    assert (report.pages, report.placements) == (2, 8)
    assert (report.empty, report.decorative, report.variable, report.elsewhere) == (1, 1, 1, 2)
    alone = {"copy of a.jpg", "alone.jpg", "near.jpg", "near2.jpg"}
    assert report.missing == 1 + len(alone)
    assert report.described == 4
    assert [name for name, _ in report.problems] == ["broken.jpg"]
    assert report.duplicates == 1


def test_a_second_scan_reads_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(5):
        put(tmp_path / f"{n}.jpg", jpeg(n))
        put(tmp_path / f"sub/{n}.md", f"![]({n}.jpg) ![](../{n}.jpg) ![](https://x.org/a.png)")
    put(tmp_path / "broken.jpg", b"")
    first = scan(tmp_path)

    def never(*_: object) -> None:
        raise AssertionError("read again")

    monkeypatch.setattr(photos, "inspect", never)
    monkeypatch.setattr(pages, "read", never)
    second = scan(tmp_path)
    assert (second.new, second.changed, second.gone) == (0, 0, 0)
    counts = (
        "files",
        "photos",
        "pages",
        "placements",
        "missing",
        "empty",
        "described",
        "elsewhere",
        "problems",
    )
    assert [getattr(first, n) for n in counts] == [getattr(second, n) for n in counts]


def test_moved_changed_and_deleted_files(tmp_path: Path) -> None:
    for n in range(4):
        put(tmp_path / f"{n}.jpg", jpeg(n))
    put(tmp_path / "page.md", "![](0.jpg) ![](1.jpg)")
    scan(tmp_path)
    with looksay.Library(tmp_path) as library:
        library.decide(tmp_path / "2.jpg", "edit", "A harbour.")
    (tmp_path / "2.jpg").rename(tmp_path / "moved.jpg")
    (tmp_path / "3.jpg").unlink()
    put(tmp_path / "1.jpg", jpeg(11))
    report = scan(tmp_path)
    assert (report.new, report.changed, report.gone, report.files) == (1, 1, 2, 3)
    with looksay.Library(tmp_path) as library:
        words = {t.path: w.text for t, w in library.targets()}
        assert words == {"0.jpg": "", "1.jpg": "", "moved.jpg": "A harbour."}
    (tmp_path / "page.md").unlink()
    report = scan(tmp_path)
    assert (report.pages, report.placements, report.missing) == (0, 0, 3)
    put(tmp_path / "3.jpg", jpeg(3))
    assert scan(tmp_path).files == 4


def test_near_duplicates_that_are_gone_no_longer_count(tmp_path: Path) -> None:
    put(tmp_path / "a.jpg", encoded(picture(2, (600, 450)), "JPEG", quality=95))
    put(tmp_path / "b.jpg", encoded(picture(2, (600, 450)), "JPEG", quality=85))
    assert scan(tmp_path).near_duplicates == 1
    (tmp_path / "a.jpg").unlink()
    (tmp_path / "b.jpg").unlink()
    assert scan(tmp_path).near_duplicates == 0


def test_images_that_come_later_are_found_by_pages_that_stayed(tmp_path: Path) -> None:
    put(tmp_path / "posts/page.md", "![](../img/a.jpg)")
    assert scan(tmp_path).elsewhere == 1
    put(tmp_path / "img/a.jpg", jpeg(1))
    assert scan(tmp_path).elsewhere == 0
    (tmp_path / "img/a.jpg").unlink()
    assert scan(tmp_path).elsewhere == 1


NAMES = [
    "plain.jpg", "with space.jpg", "사진 한 장.jpg", "it's.jpg", 'say "hi".jpg', "100%.jpg", "a%20b.jpg", "a%2541.jpg",
    "C#.jpg", "what?.jpg", "a&b.jpg", "a+b.jpg", "(1).jpg", "[x].jpg", "é.jpg", "UPPER.JPG", "a;b,c.jpg", "😀.jpg",
    "`tick`.jpg", "{x}.jpg", "a=b.jpg", "x" * 200 + ".jpg",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES if POSIX else [n for n in NAMES if not set(n) & set('"?')])
def test_every_file_name_is_found_as_pages_write_it(name: str, tmp_path: Path) -> None:
    from html import escape
    from urllib.parse import quote

    put(tmp_path / "img" / name, jpeg(1))
    coded = quote("img/" + name)
    put(tmp_path / "a.md", f"![x]({coded})\n")
    put(tmp_path / "b.html", f'<img src="{coded}" alt="x">')
    put(tmp_path / "c.html", f'<img src="{coded}?v=1#top" alt="x">')
    put(tmp_path / "sub/d.html", f'<img src="/{coded}" alt="x">')
    put(tmp_path / "sub/e.html", f'<img src="../{coded}" alt="x">')
    if not set(name) & set("?#%"):
        put(tmp_path / "f.html", f'<img src="{escape("img/" + name)}" alt="x">')
    report = scan(tmp_path)
    assert report.elsewhere == 0, links(tmp_path)
    assert report.files == 1


def test_a_percent_sign_that_nobody_encoded_is_found_too(tmp_path: Path) -> None:
    for name in ("100%.jpg", "a%20b.jpg", "C#.jpg"):
        put(tmp_path / name, jpeg(1))
        put(tmp_path / f"{name}.html", f'<img src="{name}" alt="x">')
    assert scan(tmp_path).elsewhere == 0


def test_a_name_that_is_no_text_is_told_and_the_others_are_read(tmp_path: Path) -> None:
    need(sys.platform == "linux", "file names of any bytes")
    put(tmp_path / "good.jpg", jpeg(1))
    (tmp_path / os.fsdecode(b"folder\xfe")).mkdir()
    bad = tmp_path / os.fsdecode(b"bad\xff.jpg")
    bad.touch()
    report = scan(tmp_path)
    assert report.photos == 1
    assert [(name, "is not UTF-8" in why) for name, why in sorted(report.problems)] == [
        ("bad\\xff.jpg", True),
        ("folder\\xfe", True),
    ]
    with looksay.Library(tmp_path) as library, pytest.raises(InputError, match="not UTF-8"):
        library.show(bad)


def test_decomposed_file_names_are_the_same(tmp_path: Path) -> None:
    """macOS hands out names in another normal form (NFD) than people type (NFC)."""
    import unicodedata

    put(tmp_path / unicodedata.normalize("NFD", "한글.jpg"), jpeg(1))
    put(tmp_path / unicodedata.normalize("NFC", "é.jpg"), jpeg(2))
    put(
        tmp_path / "a.md",
        f"![]({unicodedata.normalize('NFC', '한글.jpg')}) ![]({unicodedata.normalize('NFD', 'é.jpg')})",
    )
    assert scan(tmp_path).elsewhere == 0


def test_pages_reference_nothing_outside_the_library(tmp_path: Path) -> None:
    put(tmp_path / "secret.jpg", jpeg(7))
    root = tmp_path / "library"
    put(
        root / "posts/a.md",
        "![x](../../secret.jpg) ![x](/../secret.jpg) ![x](../../../../etc/passwd.jpg)",
    )
    put(
        root / "posts/b.md",
        f"![x]({(tmp_path / 'secret.jpg').as_posix()}) <img src='file://{tmp_path}/secret.jpg'>",
    )
    report = scan(root)
    assert (report.files, report.placements, report.elsewhere) == (0, 5, 5)


def test_several_roots_share_one_catalogue(tmp_path: Path) -> None:
    put(tmp_path / "site/page.md", "![x](../photos/a.jpg)")
    put(tmp_path / "photos/a.jpg", jpeg(1))
    put(tmp_path / "photos/b.jpg", jpeg(2))
    put(tmp_path / "more/c.jpg", jpeg(3))
    one, two, three = (tmp_path / n for n in ("site", "photos", "more"))
    report = scan(one, one, two, three)
    assert (report.files, report.pages, report.elsewhere, report.problems) == (3, 1, 0, [])
    assert (one / "looksay.db").exists()
    assert not (two / "looksay.db").exists()
    (two / "b.jpg").unlink()
    assert scan(one, one).gone == 0  # only what was scanned can be found gone
    assert scan(one, one, two).gone == 1


def test_the_catalogue_can_be_elsewhere(tmp_path: Path) -> None:
    put(tmp_path / "photos/sub/a.jpg", jpeg(1))
    put(tmp_path / "photos/page.md", "![](sub/a.jpg)")
    db = tmp_path / "catalogue.sqlite"
    with looksay.Library(tmp_path / "photos", db=db) as library:
        assert library.scan().files == 1
    assert not (tmp_path / "photos/looksay.db").exists()
    with looksay.Library(tmp_path / "photos/sub", db=db) as library:  # the root stays
        assert library.root == tmp_path / "photos"
        assert library.scan([tmp_path / "photos/sub"]).changed == 0
        assert library.status().scan.placements == 1


@pytest.mark.skipif(not POSIX, reason="links need a privilege on Windows")
class TestLinks:
    def test_loops_end(self, tmp_path: Path) -> None:
        put(tmp_path / "a/b/x.jpg", jpeg(1))
        (tmp_path / "a/b/up").symlink_to(tmp_path / "a")
        (tmp_path / "self").symlink_to("self")
        (tmp_path / "self.jpg").symlink_to("self.jpg")
        (tmp_path / "here").symlink_to(".")
        report = scan(tmp_path)
        assert report.files == 1
        assert [n for n, _ in report.problems] == ["self.jpg"]

    def test_a_linked_folder_does_not_hide_the_real_one(self, tmp_path: Path) -> None:
        put(tmp_path / "photos/x.jpg", jpeg(1))
        (tmp_path / "a-link").symlink_to(tmp_path / "photos")
        put(tmp_path / "page.md", "![x](photos/x.jpg) ![y](a-link/x.jpg)")
        report = scan(tmp_path)
        assert (report.files, report.elsewhere) == (1, 0)
        assert links(tmp_path) == {"photos/x.jpg": "photos/x.jpg", "a-link/x.jpg": "photos/x.jpg"}

    def test_links_that_lead_out_are_told_not_followed(self, tmp_path: Path) -> None:
        root = tmp_path / "library"
        put(tmp_path / "outside/x.jpg", jpeg(1))
        put(tmp_path / "outside/notes.txt", "x")
        put(root / "y.jpg", jpeg(2))
        (root / "folder").symlink_to(tmp_path / "outside")
        (root / "x.jpg").symlink_to(tmp_path / "outside/x.jpg")
        (root / "notes.txt").symlink_to(tmp_path / "outside/notes.txt")  # none of our business
        (root / "broken.jpg").symlink_to("not there.jpg")
        report = scan(root)
        assert report.files == 1
        reasons = dict(report.problems)
        assert set(reasons) == {"folder", "x.jpg", "broken.jpg"}
        assert "out of the library" in reasons["folder"]
        assert "leads nowhere" in reasons["broken.jpg"]

    def test_links_between_roots_are_inside(self, tmp_path: Path) -> None:
        put(tmp_path / "b/x.jpg", jpeg(1))
        put(tmp_path / "a/y.jpg", jpeg(2))
        (tmp_path / "b/link.jpg").symlink_to(tmp_path / "b/x.jpg")
        report = scan(tmp_path / "a", tmp_path / "a", tmp_path / "b")
        assert (report.files, report.problems) == (3, [])


class TestVanishing:
    """Files and folders that go away between being listed and being read."""

    def test_a_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for n in range(3):
            put(tmp_path / f"{n}.jpg", jpeg(n))
        put(tmp_path / "z/a.jpg", jpeg(7))
        put(tmp_path / "z/deep/page.md", "![](../a.jpg)")
        real = photos.inspect

        def inspect(path: Path, limit: int) -> photos.Inspection:
            shutil.rmtree(tmp_path / "z", ignore_errors=True)
            return real(path, limit)

        monkeypatch.setattr(photos, "inspect", inspect)
        report = scan(tmp_path)
        assert report.files == 3
        monkeypatch.undo()
        report = scan(tmp_path)
        assert (report.files, report.problems) == (3, [])

    def test_a_page_and_a_sidecar(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        put(tmp_path / "a.jpg", jpeg(1))
        put(tmp_path / "a.jpg.xmp", "<x/>")
        put(tmp_path / "page.md", "![](a.jpg)")
        real = photos.inspect

        def inspect(path: Path, limit: int) -> photos.Inspection:
            (tmp_path / "page.md").unlink(missing_ok=True)
            (tmp_path / "a.jpg.xmp").unlink(missing_ok=True)
            return real(path, limit)

        monkeypatch.setattr(photos, "inspect", inspect)
        assert scan(tmp_path).files == 1
        monkeypatch.undo()
        assert scan(tmp_path).problems == []

    def test_a_page_known_before(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        put(tmp_path / "page.md", "![](later.jpg)")
        scan(tmp_path)
        put(tmp_path / "later.jpg", jpeg(1))
        real = photos.inspect

        def inspect(path: Path, limit: int) -> photos.Inspection:
            (tmp_path / "page.md").unlink(missing_ok=True)
            return real(path, limit)

        monkeypatch.setattr(photos, "inspect", inspect)
        assert scan(tmp_path).files == 1

    def test_the_root(self, tmp_path: Path) -> None:
        put(tmp_path / "a/x.jpg", jpeg(1))
        put(tmp_path / "b/x.jpg", jpeg(2))
        scan(tmp_path / "a", tmp_path / "a", tmp_path / "b")
        shutil.rmtree(tmp_path / "b")
        with pytest.raises(InputError, match="is not there"):
            scan(tmp_path / "a", tmp_path / "a", tmp_path / "b")
        with pytest.raises(InputError, match="is not there"):
            looksay.Library(tmp_path / "b")


def test_permission_denied_is_told_and_tried_again(unprivileged: Path) -> None:
    put(unprivileged / "a.jpg", jpeg(1)).chmod(0)
    put(unprivileged / "page.md", "![](b.jpg)").chmod(0)
    put(unprivileged / "b.jpg", jpeg(2))
    put(unprivileged / "closed/c.jpg", jpeg(3))
    (unprivileged / "closed").chmod(0)
    report = scan(unprivileged)
    assert dict(report.problems) == dict.fromkeys(
        ["a.jpg", "page.md", "closed"], "permission denied"
    )
    assert report.files == 1
    for name in ("a.jpg", "page.md", "closed"):
        (unprivileged / name).chmod(0o755)
    report = scan(unprivileged)
    assert (report.files, report.placements, report.problems) == (3, 1, [])


def test_a_folder_that_cannot_be_listed_keeps_what_was_known(unprivileged: Path) -> None:
    put(unprivileged / "closed/c.jpg", jpeg(3))
    assert scan(unprivileged).files == 1
    (unprivileged / "closed").chmod(0)
    report = scan(unprivileged)
    assert (report.files, report.gone) == (1, 0)


def test_pages_that_are_not_utf_8(tmp_path: Path) -> None:
    put(tmp_path / "사진.jpg", jpeg(1))
    put(
        tmp_path / "a.html",
        "<meta charset=euc-kr><img src='사진.jpg' alt='배 두 척'>".encode("euc-kr"),
    )
    put(tmp_path / "b.html", "<img src='사진.jpg' alt='배'>".encode("utf-16"))
    put(tmp_path / "c.html", b"<img src='x.jpg' alt='caf\xe9'>")
    put(tmp_path / "d.html", b"\x89PNG\0\0\0")
    report = scan(tmp_path)
    assert (report.described, report.elsewhere) == (3, 1)
    assert [n for n, _ in report.problems] == ["d.html"]


def test_a_raised_limit_is_honoured_by_the_next_scan(tmp_path: Path) -> None:
    put(tmp_path / "looksay.toml", "max_megapixels = 1\n")
    put(tmp_path / "large.png", encoded(picture(1).resize((1500, 1000)), "PNG"))
    report = scan(tmp_path)
    assert report.files == 0
    assert "over the limit of 1 (setting: max_megapixels)" in report.problems[0][1]
    put(tmp_path / "looksay.toml", "max_megapixels = 2\n")
    report = scan(tmp_path)
    assert (report.files, report.problems) == (1, [])


def test_deep_folders(tmp_path: Path) -> None:
    deep = tmp_path
    for _ in range(250):
        deep = deep / "d"
    put(deep / "a.jpg", jpeg(1))
    assert scan(tmp_path).files == 1


def test_bad_settings_are_told_and_leave_nothing_open(tmp_path: Path) -> None:
    put(tmp_path / "looksay.toml", "max_megapixels = 'many'\n")
    with pytest.raises(InputError, match="max_megapixels should be int"):
        looksay.Library(tmp_path)
    (tmp_path / "looksay.db").unlink(missing_ok=True)  # an open file cannot be deleted on Windows


@pytest.mark.parametrize(
    "src",
    [
        "//[",
        "http://[x",
        "//[::1",
        "\\\\server\\x.jpg",
        "C:\\x.jpg",
        "a\tb.jpg",
        "?",
        "#",
        "/",
        ".",
        "..",
        "x" * 5000,
    ],
)
def test_odd_addresses_never_stop_a_scan(src: str, tmp_path: Path) -> None:
    put(tmp_path / "a.html", f'<img src="{src}" alt="x">')
    report = scan(tmp_path)
    assert (report.problems, report.elsewhere) == ([], report.placements)
