"""The two IPTC fields in sidecars and in photos, read and written, with ExifTool as the judge."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest
from conftest import need
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import encoded, jpeg, picture, put

import looksay
from looksay.errors import LooksayError, PageError
from looksay.library import xmp

ADOBE = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="Adobe XMP Core 7.0">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about=""
    xmlns:dc="http://purl.org/dc/elements/1.1/"
    xmlns:xmp="http://ns.adobe.com/xap/1.0/"
    xmlns:crs="http://ns.adobe.com/camera-raw-settings/1.0/"
   xmp:Rating="3"
   crs:Exposure2012="+0.35">
   <dc:description>
    <rdf:Alt>
     <rdf:li xml:lang="x-default">The caption &amp; its words</rdf:li>
    </rdf:Alt>
   </dc:description>
   <dc:subject><rdf:Bag><rdf:li>harbour</rdf:li></rdf:Bag></dc:subject>{inside}
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>"""
FIELD = '<Iptc4xmpCore:{name} xmlns:Iptc4xmpCore="http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/"><rdf:Alt>{items}</rdf:Alt></Iptc4xmpCore:{name}>'
OTHERS = FIELD.format(
    name=xmp.ALT,
    items='<rdf:li xml:lang="x-default">Old</rdf:li><rdf:li xml:lang="de">Zwei Boote</rdf:li><rdf:li xml:lang="en">Old</rdf:li>',
)
SELF_CLOSED = '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="a>b" /></rdf:RDF></x:xmpmeta>'

PACKETS = {
    "new": None,
    "empty": b"",
    "Adobe": ADOBE.format(inside="").encode(),
    "Adobe with words": ADOBE.format(inside=OTHERS).encode(),
    "CRLF": ADOBE.format(inside=OTHERS).replace("\n", "\r\n").encode(),
    "self-closed": SELF_CLOSED.encode(),
    "self-closed property": ADOBE.format(inside=f'<i:{xmp.ALT} xmlns:i="{xmp.IPTC}"/>').encode(),
    "other prefixes": ADOBE.format(inside=OTHERS)
    .replace("rdf:", "r:")
    .replace(":rdf=", ":r=")
    .encode(),
    "padded": ADOBE.format(inside="").encode() + b" " * 2000 + b"\0",
    "Latin-1": ADOBE.format(inside="")
    .replace("\ufeff", "")
    .replace("caption", "légende")
    .replace("<?xpacket begin", '<?xml version="1.0" encoding="iso-8859-1"?><?xpacket begin', 1)
    .encode("latin-1"),
}


def values(path: Path) -> dict[str, str]:
    """What ExifTool reads, in all languages."""
    need(shutil.which("exiftool"), "ExifTool")
    command = [
        "exiftool",
        "-j",
        "-charset",
        "utf8",
        "-charset",
        "filename=utf8",
        "-XMP:all",
        str(path),
    ]
    done = subprocess.run(command, capture_output=True, check=True)
    (found,) = json.loads(done.stdout.decode())
    return {k: v for k, v in found.items() if k not in ("SourceFile", "XMPToolkit")}


@pytest.mark.parametrize("name", PACKETS)
def test_sidecars_are_written_as_exiftool_reads_them_and_nothing_else_changes(
    name: str, tmp_path: Path
) -> None:
    packet = PACKETS[name]
    before = values(put(tmp_path / "before.xmp", packet)) if packet else {}
    written = xmp.write(packet, 'Say "hi" & <b> 가 🎉', "Longer.\nSecond line.", "ko")
    assert xmp.read(written) == ('Say "hi" & <b> 가 🎉', "Longer.\nSecond line.")
    after = values(put(tmp_path / "after.xmp", written))
    assert after.pop(xmp.ALT) == after.pop(f"{xmp.ALT}-ko") == 'Say "hi" & <b> 가 🎉'
    assert after.pop(xmp.EXTENDED).split() == ["Longer.", "Second", "line."]
    after.pop(f"{xmp.EXTENDED}-ko")
    if "words" in name or name in ("CRLF", "other prefixes"):
        assert after[f"{xmp.ALT}-de"] == "Zwei Boote"
    assert after == {k: v for k, v in before.items() if k not in (xmp.ALT, f"{xmp.ALT}-ko")}
    assert xmp.write(written, 'Say "hi" & <b> 가 🎉', "Longer.\nSecond line.", "ko") == written
    if packet:  # removing both leaves what there was, save for the fields themselves
        assert (
            values(put(tmp_path / "removed.xmp", xmp.write(written, "", "", "ko"))).get(xmp.ALT)
            is None
        )


def test_bytes_outside_the_fields_stay() -> None:
    packet = PACKETS["Adobe with words"]
    assert packet is not None
    start, end = packet.index(b"<Iptc4xmpCore"), packet.rindex(b"</Iptc4xmpCore")
    written = xmp.write(packet, "New", "", "en")
    assert written.startswith(packet[:start])
    assert written.endswith(packet[end:].partition(b">")[2])
    assert b"The caption &amp; its words" in written


@pytest.mark.parametrize(
    "packet",
    [
        b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><x:xmpmeta xmlns:x="adobe:ns:meta/">&e;</x:xmpmeta>',
        b'<!DOCTYPE lolz [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;">]><x>&b;</x>',
        b"<x:xmpmeta>",
        b"not XML",
        b"<x/>",
        ADOBE.format(inside="").encode("utf-16"),
        b"\xff\xd8\xff\xe0",
    ],
)
def test_what_is_no_packet_is_neither_read_nor_written(packet: bytes, tmp_path: Path) -> None:
    assert xmp.read(packet) == (None, None)
    with pytest.raises(PageError):
        xmp.write(packet, "New", "", "en")
    put(tmp_path / "a.jpg", jpeg(1))
    sidecar = put(tmp_path / "a.jpg.xmp", packet)
    with looksay.Library(tmp_path) as library:
        library.scan()
        library.decide(tmp_path / "a.jpg", "edit", "Words")
        assert [n for n, _ in library.apply().refused] == ["a.jpg"]
    assert sidecar.read_bytes() == packet


@given(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1), st.sampled_from(sorted(PACKETS))
)
@settings(max_examples=200, deadline=None)
def test_any_text_reads_back(text: str, name: str) -> None:
    written = xmp.write(PACKETS[name], text, "", "en")
    assert " ".join((xmp.read(written)[0] or "").split()) == " ".join(
        "".join(c if c >= " " and c not in "\x7f\ufffe\uffff" else " " for c in text).split()
    )
    ElementTree.fromstring(written.rstrip(b" \0"))


def test_language_tags_match_whatever_their_case() -> None:
    packet = xmp.write(None, "Old", "", "pt-br")
    written = xmp.write(packet, "New", "", "pt-BR")
    assert b"Old" not in written


# --- which file is a photo's sidecar ----------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.jpg.xmp", "a.xmp", "A.JPG.XMP", "a.JPG.xmp"])
def test_sidecars_are_found_used_and_kept(name: str, tmp_path: Path) -> None:
    put(tmp_path / "a.jpg", jpeg(1))
    packet = PACKETS["Adobe with words"]
    assert packet is not None
    put(tmp_path / name, packet)
    with looksay.Library(tmp_path) as library:
        assert library.scan().described == 1
        ((target, words),) = library.targets()
        assert (target.alt, words.state) == ("Old", "human")
        library.decide(tmp_path / "a.jpg", "edit", "New")
        assert library.apply().files == [name]
        assert library.scan().changed == 0
        assert library.apply().files == []
        library.undo()
    assert (tmp_path / name).read_bytes() == packet
    assert sorted(p.name for p in tmp_path.glob("*.[xX][mM][pP]")) == [name]


def test_a_sidecar_that_changes_or_goes_is_noticed(tmp_path: Path) -> None:
    put(tmp_path / "a.jpg", jpeg(1))
    with looksay.Library(tmp_path) as library:
        assert library.scan().missing == 1
        put(tmp_path / "a.xmp", xmp.write(None, "Words", "", "en"))
        assert library.scan().described == 1
        put(tmp_path / "a.xmp", xmp.write(None, "Other words!", "", "en"))
        library.scan()
        assert [t.alt for t, _ in library.targets()] == ["Other words!"]
        (tmp_path / "a.xmp").unlink()
        assert library.scan().missing == 1


def test_a_photo_that_went_after_its_sidecar_was_written_stops_nothing(tmp_path: Path) -> None:
    put(tmp_path / "a.jpg", jpeg(1))
    with looksay.Library(tmp_path) as library:
        library.scan()
        library.decide(tmp_path / "a.jpg", "edit", "Words")
        library.apply()
        (tmp_path / "a.jpg").unlink()
        library.undo()
        assert not (tmp_path / "a.jpg.xmp").exists()
        assert library.scan().files == 0


# --- inside the photo -------------------------------------------------------------------------------


def heic() -> bytes:
    import pillow_heif

    out = io.BytesIO()
    pillow_heif.from_pillow(picture(1)).save(out)
    return out.getvalue()


PHOTOS = {
    "a.jpg": lambda: jpeg(1),
    "a.png": lambda: encoded(picture(1), "PNG"),
    "a.webp": lambda: encoded(picture(1), "WEBP"),
    "a.tif": lambda: encoded(picture(1), "TIFF"),
    "a.heic": heic,
    "a.avif": lambda: encoded(picture(1), "AVIF"),
    "a.gif": lambda: encoded(picture(1).quantize(32), "GIF"),
    "사진 'x'.jpg": lambda: jpeg(1),
    "-dash.jpg": lambda: jpeg(1),
}


@pytest.mark.parametrize("name", PHOTOS)
def test_embedding_and_undoing(name: str, tmp_path: Path) -> None:
    need(shutil.which("exiftool"), "ExifTool")
    photo = put(tmp_path / name, PHOTOS[name]())
    before = photo.read_bytes()
    with looksay.Library(tmp_path) as library:
        library.scan()
        library.describe("echo")
        library.decide(photo, "edit", 'Say "hi" & 가 🎉', extended="More.\nLines.")
        report = library.apply(into_photos=True)
        assert (report.files, report.refused) == ([name], [])
        assert values(photo)[xmp.ALT] == 'Say "hi" & 가 🎉'
        assert photo.read_bytes() != before
        report = library.scan()
        assert (report.new, report.changed, report.gone, report.photos) == (0, 0, 0, 1)
        assert library.describe("echo", which="all").described == 0
        assert library.apply(into_photos=True).files == []
        ((target, words),) = library.targets()
        assert (target.alt, words.text) == ('Say "hi" & 가 🎉', 'Say "hi" & 가 🎉')
        library.undo()
        assert photo.read_bytes() == before
        report = library.scan()
        assert (report.new, report.changed, report.gone, report.photos) == (0, 0, 0, 1)
        assert library.describe("echo", which="all").described == 0


def test_what_exiftool_wrote_is_read(tmp_path: Path) -> None:
    need(shutil.which("exiftool"), "ExifTool")
    for name in ("a.jpg", "a.png", "a.webp", "a.tif", "a.heic", "a.avif"):
        photo = put(tmp_path / name, PHOTOS[name]())
        words = [
            "-XMP-iptcCore:AltTextAccessibility=배 두 척",
            "-XMP-iptcCore:ExtDescrAccessibility=Longer",
            "-XMP-dc:Description=Caption",
        ]
        subprocess.run(
            ["exiftool", "-q", "-overwrite_original", "-charset", "utf8", *words, str(photo)],
            check=True,
        )
    subprocess.run(
        [
            "exiftool",
            "-q",
            "-o",
            str(tmp_path / "b.xmp"),
            "-XMP-iptcCore:AltTextAccessibility=Beside",
        ],
        check=True,
    )
    put(tmp_path / "b.jpg", jpeg(8))
    with looksay.Library(tmp_path) as library:
        library.scan()
        found = {t.path: (t.alt, w.state) for t, w in library.targets()}
    assert found.pop("b.jpg") == ("Beside", "human")
    assert set(found.values()) == {("배 두 척", "human")}


def test_a_caption_in_the_photo_stays(tmp_path: Path) -> None:
    need(shutil.which("exiftool"), "ExifTool")
    photo = put(tmp_path / "a.jpg", jpeg(1))
    subprocess.run(
        [
            "exiftool",
            "-q",
            "-overwrite_original",
            "-XMP-dc:Description=Caption",
            "-EXIF:Artist=Someone",
            str(photo),
        ],
        check=True,
    )
    with looksay.Library(tmp_path) as library:
        library.scan()
        library.decide(photo, "edit", "Words")
        library.apply(into_photos=True)
    done = subprocess.run(
        ["exiftool", "-s3", "-XMP-dc:Description", "-EXIF:Artist", str(photo)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["Caption", "Someone"]


def test_embedding_beside_a_sidecar_is_done_once(tmp_path: Path) -> None:
    need(shutil.which("exiftool"), "ExifTool")
    photo = put(tmp_path / "a.jpg", jpeg(1))
    put(tmp_path / "a.jpg.xmp", xmp.write(None, "Old", "", "en"))
    with looksay.Library(tmp_path) as library:
        library.scan()
        library.decide(photo, "edit", "New")
        library.apply(into_photos=True)
        assert values(photo)[xmp.ALT] == "New"
        assert library.apply(into_photos=True).files == []


@pytest.mark.parametrize("data", [b"not a photo", jpeg(1)[:500]])
def test_a_photo_that_exiftool_cannot_write_is_left(data: bytes, tmp_path: Path) -> None:
    need(shutil.which("exiftool"), "ExifTool")
    photo = put(tmp_path / "a.jpg", jpeg(1))
    with looksay.Library(tmp_path) as library:
        library.scan()
        library.decide(photo, "edit", "Words")
        put(photo, data)
        report = library.apply(into_photos=True)
        assert [n for n, _ in report.refused] == ["a.jpg"]
        assert photo.read_bytes() == data


def test_without_exiftool_the_message_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    put(tmp_path / "a.jpg", jpeg(1))
    with (
        looksay.Library(tmp_path) as library,
        pytest.raises(LooksayError, match="apt install libimage-exiftool-perl"),
    ):
        library.apply(into_photos=True)
