"""Where entries of files may lead: pictures inside the folder, each id once."""

from __future__ import annotations

from pathlib import Path

import pytest
from pictures import jpeg, put

from looksay.data.reading import Place, opened_later
from looksay.errors import InputError

PLACE = Place(Path("chats.json"), 2, 10, {"id": "a7"})


@pytest.mark.parametrize(
    "name",
    [
        "../secret.jpg",
        "inside/../../secret.jpg",
        "inside\\..\\..\\secret.jpg",
        "/secret.jpg",
        "\\secret.jpg",
        "\\\\server\\share\\secret.jpg",
        "C:secret.jpg",
        "C:\\secret.jpg",
        "..",
    ],
)
def test_a_name_that_leads_out_of_the_folder_is_refused(name: str, tmp_path: Path) -> None:
    put(tmp_path / "secret.jpg", jpeg(1))
    put(tmp_path / "images" / "inside" / "1.jpg", jpeg(1))
    with pytest.raises(InputError, match=r"chats\.json, entry 3 of 10 \(id 'a7'\): .*leads out of"):
        PLACE.image(tmp_path / "images", name)
    with pytest.raises(InputError, match="leads out of"):
        PLACE.image(tmp_path / "images", "inside/1.jpg", name)


def test_an_absolute_name_is_refused_even_of_a_picture_in_the_folder(tmp_path: Path) -> None:
    put(tmp_path / "1.jpg", jpeg(1))
    with pytest.raises(InputError, match=r"leads out of .* --images names the folder"):
        PLACE.image(tmp_path, str(tmp_path / "1.jpg"))


@pytest.mark.parametrize("name", ["1..2.jpg", "...jpg", "./inside/1.jpg", "inside/a b.jpg"])
def test_names_inside_the_folder_are_found(name: str, tmp_path: Path) -> None:
    put(tmp_path / name, jpeg(1))
    assert PLACE.image(tmp_path, name).source == tmp_path / name


def test_a_link_in_the_folder_is_followed(tmp_path: Path) -> None:
    put(tmp_path / "elsewhere" / "1.jpg", jpeg(1))
    (tmp_path / "images").mkdir()
    try:
        (tmp_path / "images" / "here").symlink_to(tmp_path / "elsewhere")
    except OSError:
        pytest.skip("this system makes no links")
    assert PLACE.image(tmp_path / "images", "here/1.jpg")


def test_what_was_there_before_is_told() -> None:
    seen: set[str] = set()
    PLACE.once("a7", seen, "question")
    with pytest.raises(InputError, match=r"entry 3 of 10 .*: this question was there before"):
        PLACE.once("a7", seen, "question")


def test_pictures_that_are_opened_later_must_be_there_and_are_named_all_the_same(
    tmp_path: Path,
) -> None:
    put(tmp_path / "good.jpg", jpeg(1))
    put(tmp_path / "bad.jpg", "no picture")
    with opened_later() as opened:
        good, bad = (PLACE.image(tmp_path, name) for name in ("good.jpg", "bad.jpg"))
        # Benchmarks read so, and `looksay evaluate` has no --images.
        with pytest.raises(
            InputError,
            match=r"entry 3 of 10 .*'gone\.jpg' is not in .*Near names there: good\.jpg\.$",
        ):
            PLACE.image(tmp_path, "gone.jpg")
        with pytest.raises(InputError, match=r"'gone\.jpg' was looked for in .*no folder\.$"):
            PLACE.image(tmp_path / "none", "gone.jpg")
        opened([good])
        with pytest.raises(InputError, match=r"entry 3 of 10 .*bad\.jpg cannot be read"):
            opened([good, bad])
    with pytest.raises(InputError, match=r"bad\.jpg cannot be read"):
        PLACE.image(tmp_path, "bad.jpg")
