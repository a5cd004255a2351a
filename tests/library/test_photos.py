"""Every format, every fault: what is read, what is refused and why, and which photos look alike."""

from __future__ import annotations

import base64
import io
import random
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from pictures import encoded, jpeg, picture, put
from PIL import Image as Pillow

from looksay import images
from looksay.errors import UnreadablePhoto
from looksay.library import photos

SIZE = (96, 72)
SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" {}>{}</svg>'
)


def heic(image: Pillow.Image, **options: object) -> bytes:
    import pillow_heif

    out = io.BytesIO()
    pillow_heif.from_pillow(image).save(out, **options)
    return out.getvalue()


def png_16_bit() -> bytes:
    """48-bit PNG by hand, since Pillow writes none: rows of big-endian 16-bit RGB."""
    rgb = picture(1).tobytes()
    rows = b"".join(
        b"\0" + b"".join(bytes((v, v)) for v in rgb[y * 288 : y * 288 + 288]) for y in range(72)
    )

    def chunk(kind: bytes, body: bytes) -> bytes:
        check = zlib.crc32(kind + body)
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", check)

    head = struct.pack(">IIBBBBB", 96, 72, 16, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def animated(form: str) -> bytes:
    frames = [picture(n) for n in (1, 2, 3)]
    return encoded(frames[0], form, save_all=True, append_images=frames[1:], duration=50)


def grey_16_bit() -> Pillow.Image:
    return picture(1).convert("L").convert("I").point(lambda v: v * 257).convert("I;16")


FORMATS = {
    "a.jpg": lambda: jpeg(1),
    "cmyk.jpg": lambda: encoded(picture(1).convert("CMYK"), "JPEG", quality=95),
    "grey.jpg": lambda: encoded(picture(1).convert("L"), "JPEG"),
    "a.png": lambda: encoded(picture(1), "PNG"),
    "deep.png": png_16_bit,
    "deepgrey.png": lambda: encoded(grey_16_bit(), "PNG"),
    "palette.png": lambda: encoded(picture(1).quantize(64), "PNG", transparency=0),
    "alpha.png": lambda: encoded(picture(1).convert("RGBA"), "PNG"),
    "bits.png": lambda: encoded(picture(1).convert("1"), "PNG"),
    "a.webp": lambda: encoded(picture(1), "WEBP"),
    "moving.webp": lambda: animated("WEBP"),
    "moving.gif": lambda: animated("GIF"),
    "a.avif": lambda: encoded(picture(1), "AVIF"),
    "a.heic": lambda: heic(picture(1)),
    "a.tif": lambda: encoded(picture(1), "TIFF"),
    "packed.tiff": lambda: encoded(picture(1), "TIFF", compression="tiff_lzw"),
    "cmyk.tif": lambda: encoded(picture(1).convert("CMYK"), "TIFF"),
    "deep.tif": lambda: encoded(grey_16_bit(), "TIFF"),
    "float.tif": lambda: encoded(picture(1).convert("F"), "TIFF"),
    "a.bmp": lambda: encoded(picture(1), "BMP"),
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_read_and_shows_the_same_picture(name: str, tmp_path: Path) -> None:
    seen = photos.inspect(put(tmp_path / name, FORMATS[name]()))
    assert seen.fault is None
    assert seen.picture is not None
    assert (seen.picture.width_px, seen.picture.height_px) == SIZE
    rgb = images.load_rgb(tmp_path / name)
    assert (rgb.mode, rgb.size) == ("RGB", SIZE)
    if name != "bits.png":  # dithered to black and white
        want, got = (
            i.convert("L").resize((12, 9), Pillow.Resampling.BOX).tobytes()
            for i in (picture(1), rgb)
        )
        assert sum(abs(a - b) for a, b in zip(want, got, strict=True)) / 108 < 12


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF", "HEIC", "deep TIFF"])
@pytest.mark.parametrize("value", range(1, 9))
@pytest.mark.parametrize("side_px", [None, 48])
def test_exif_orientation_is_honoured(
    form: str, value: int, side_px: int | None, tmp_path: Path
) -> None:
    upright = Pillow.new("RGB", SIZE, "white")
    upright.paste("black", (0, 0, 48, 36))  # top left
    backwards = {5: 5, 6: 8, 7: 7, 8: 6}.get(value, value)
    turned = upright.transpose(images._TURNS[backwards]) if value > 1 else upright
    exif = Pillow.Exif()
    exif[274] = value
    if form == "deep TIFF":
        wide = turned.convert("L").convert("I").point(lambda v: v * 257)
        data = encoded(wide.convert("I;16"), "TIFF", exif=exif)
    elif form == "HEIC":
        data = heic(turned, exif=exif.tobytes())
    else:
        data = encoded(turned, form, exif=exif)
    rgb = images.load_rgb(data, max_side_px=side_px)
    assert rgb.size == ((96, 72) if side_px is None else (48, 36))
    w, h = rgb.size
    corners = [
        rgb.getpixel((x * w // 4, y * h // 4))[0] > 128 for y, x in ((1, 1), (1, 3), (3, 1), (3, 3))
    ]
    assert corners == [False, True, True, True]
    seen = photos.inspect(put(tmp_path / "photo", data)).picture
    assert seen is not None
    assert (seen.width_px, seen.height_px) == SIZE


@pytest.mark.parametrize(
    "exif", [b"XXgarbage", b"II*\0\x08\0\0\0\xff\xff\1\2\3", b"MM\0*\0\0\0\x08\0\5\1\x12\0\3", b""]
)
def test_damaged_exif_does_not_make_a_photo_unreadable(exif: bytes, tmp_path: Path) -> None:
    seen = photos.inspect(put(tmp_path / "a.jpg", jpeg(1, exif=b"Exif\0\0" + exif)))
    assert seen.fault is None
    assert images.encode_jpeg(tmp_path / "a.jpg", max_side_px=64)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9])
def test_a_truncated_file_is_told_and_never_raises_anything_else(
    name: str, keep: float, tmp_path: Path
) -> None:
    data = FORMATS[name]()
    seen = photos.inspect(put(tmp_path / name, data[: int(len(data) * keep)]))
    assert (seen.fault is None) == (seen.picture is not None)
    if "moving" not in name:  # the first frame may be whole
        assert seen.fault


@pytest.mark.parametrize("name", FORMATS)
def test_flipped_bytes_never_raise_anything_else(name: str, tmp_path: Path) -> None:
    generator = random.Random(name)
    original = FORMATS[name]()
    for _ in range(25):
        data = bytearray(original)
        for _ in range(generator.choice((1, 4, 32))):
            data[generator.randrange(len(data))] = generator.randrange(256)
        seen = photos.inspect(put(tmp_path / name, bytes(data)))
        assert (seen.fault is None) == (seen.picture is not None)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty (0 bytes)"),
        (b"Not a picture, but a note.", "not a picture"),
        (b"<html><body>404</body></html>", "not a picture"),
        (b"\xff\xd8\xff\xe0", "not a picture"),
        (b"<svg", "damaged"),
        (b"<svg><g></svg>", "damaged"),
    ],
)
def test_what_is_no_picture_is_said_in_plain_words(
    data: bytes, reason: str, tmp_path: Path
) -> None:
    seen = photos.inspect(put(tmp_path / "a.jpg", data))
    assert seen.picture is None
    assert reason in (seen.fault or "")


def test_a_wrong_extension_is_no_fault(tmp_path: Path) -> None:
    seen = photos.inspect(put(tmp_path / "really-a-png.jpg", FORMATS["a.png"]()))
    assert seen.picture is not None
    assert seen.picture.format == "PNG"


def huge_png(side: int) -> bytes:
    """A grey PNG of `side` × `side` px in a few kilobytes per thousand rows."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        check = zlib.crc32(kind + body)
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", check)

    packer = zlib.compressobj(9)
    row = b"\0" * (side + 1)
    pixels = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


BOMBS = {
    "a.png": lambda: huge_png(20_000),
    "a.svg": lambda: SVG.format('width="20000" height="20000"', "").encode(),
    "viewbox.svg": lambda: SVG.format('viewBox="0 0 1e6 1e6"', "").encode(),
    "units.svg": lambda: SVG.format('width="9000mm" height="9000mm"', "").encode(),
    "thin.svg": lambda: SVG.format('width="1e300" height="1e300"', "").encode(),
}


@pytest.mark.skipif(sys.platform == "win32", reason="the memory limit is POSIX's")
@pytest.mark.parametrize("name", BOMBS)
def test_a_decompression_bomb_is_refused_without_decoding(name: str, tmp_path: Path) -> None:
    path = put(tmp_path / name, BOMBS[name]())
    code = (
        "import sys, resource; from pathlib import Path; from looksay.library import photos\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "print(photos.inspect(Path(sys.argv[1])).fault)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, timeout=60
    )
    fault, grown = done.stdout.splitlines()
    assert "megapixels, over the limit of 100" in fault
    kilobyte = 1024 if sys.platform == "darwin" else 1
    assert int(grown) / kilobyte < 50_000  # 20,000 × 20,000 px of RGB are 1,200,000 kB


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ('width="40" height="30"', (40, 30)),
        ('width="20mm" height="10mm"', (76, 38)),
        ('width="30pt" height="15pt"', (40, 20)),
        ('viewBox="0 0 64 32"', (64, 32)),
        ('width="100%" height="100%" viewBox="0,0,64,32"', (64, 32)),
        ('width="128" viewBox="0 0 64 32"', (128, 64)),
        ("", (100, 100)),
    ],
)
def test_svg_is_drawn_at_its_size(size: str, expected: tuple[int, int]) -> None:
    rgb = images.load_rgb(
        SVG.format(size, '<rect width="100%" height="100%" fill="#00f"/>').encode()
    )
    assert rgb.size == expected
    assert rgb.getpixel((rgb.width // 2, rgb.height // 2)) == (0, 0, 255)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "iso-8859-1", "utf-16", "euc-kr"])
def test_svg_in_any_encoding(encoding: str) -> None:
    word = {"iso-8859-1": "é", "euc-kr": "가"}.get(encoding, "가é")
    source = f'<?xml version="1.0" encoding="{encoding.removesuffix("-sig")}"?>\n' + SVG.format(
        'width="40" height="30"', f"<title>{word}</title>"
    )
    assert images.load_rgb(source.encode(encoding)).size == (40, 30)


@pytest.mark.parametrize(
    "reference",
    [
        "<image xlink:href='{path}' width='50' height='50'/>",
        "<image href='{path}' width='50' height='50'/>",
        "<image href='{name}' width='50' height='50'/>",
        "<image href='{uri}' width='50' height='50'/>",
        "<image href='{entity}' width='50' height='50'/>",
        "<filter id='f'><feImage href='{path}'/></filter><rect width='50' height='50' filter='url(#f)'/>",
        "<style>rect {{ fill: url({path}) }}</style><image xlink:href='{nested}' width='50' height='50'/>",
    ],
)
def test_svg_reads_nothing_outside_the_file(
    reference: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = put(tmp_path / "red.png", encoded(Pillow.new("RGB", (50, 50), "red"), "PNG"))
    monkeypatch.chdir(tmp_path)
    inner = SVG.format(
        'width="50" height="50"', f"<image xlink:href='{secret}' width='50' height='50'/>"
    )
    nested = "data:image/svg+xml;base64," + base64.b64encode(inner.encode()).decode()
    shown = reference.format(
        path=secret,
        name=secret.name,
        uri=secret.as_uri(),
        entity="".join(f"&#{ord(c)};" for c in str(secret)),
        nested=nested,
    )
    rgb = images.load_rgb(SVG.format('width="50" height="50"', shown).encode())
    assert (255, 0, 0) not in {rgb.getpixel((x, y)) for x in (5, 25, 45) for y in (5, 25, 45)}


def test_svg_with_external_entities_reads_none(tmp_path: Path) -> None:
    put(tmp_path / "secret.txt", "<rect width='50' height='50' fill='red'/>")
    source = (
        f"<?xml version='1.0'?><!DOCTYPE svg [<!ENTITY s SYSTEM '{(tmp_path / 'secret.txt').as_uri()}'>]>"
        + SVG.format('width="50" height="50"', "&s;")
    )
    try:
        rgb = images.load_rgb(source.encode())
    except UnreadablePhoto:
        return
    assert rgb.getpixel((25, 25)) == (255, 255, 255)


def test_svg_keeps_what_is_inside_the_file() -> None:
    inside = base64.b64encode(encoded(Pillow.new("RGB", (50, 50), "red"), "PNG")).decode()
    drawn = f"<image xlink:href='data:image/png;base64,{inside}' width='25' height='50'/>"
    drawn += "<g id='blue'><rect width='25' height='50' fill='blue'/></g><use href='#blue' x='25'/>"
    rgb = images.load_rgb(
        SVG.format(
            'width="50" height="50"',
            drawn.replace("<g id", "<defs><g id").replace("</g>", "</g></defs>"),
        ).encode()
    )
    assert (rgb.getpixel((10, 25)), rgb.getpixel((40, 25))) == ((255, 0, 0), (0, 0, 255))


def test_what_is_sent_away_holds_no_metadata() -> None:
    exif = Pillow.Exif()
    exif[0x8825] = {1: "N", 2: (48.0, 51.0, 29.0)}
    exif[0x010F] = "Secret Camera"
    data = jpeg(1, exif=exif, comment=b"secret comment", xmp=b"<x:xmpmeta>secret</x:xmpmeta>")
    assert b"ecret" in data
    sent = images.encode_jpeg(data)
    assert b"ecret" not in sent
    assert not Pillow.open(io.BytesIO(sent)).getexif()


def test_files_are_closed(tmp_path: Path) -> None:
    """An open handle would keep a file from being replaced on Windows; here it is a ResourceWarning."""
    for name, make in FORMATS.items():
        images.load_rgb(put(tmp_path / name, make()))
        (tmp_path / name).rename(tmp_path / "moved")


def test_reading_in_threads_leaves_the_process_as_it_was(tmp_path: Path) -> None:
    import warnings
    from concurrent.futures import ThreadPoolExecutor

    filters, limit = list(warnings.filters), Pillow.MAX_IMAGE_PIXELS
    path = put(tmp_path / "a.jpg", jpeg(1, exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff\1\2\3"))
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: photos.inspect(path).fault, range(200)))
    assert found == [None] * 200
    assert (list(warnings.filters), limit) == (filters, Pillow.MAX_IMAGE_PIXELS)


@pytest.mark.parametrize(
    ("size", "seen_px", "found"),
    [
        ((3000, 2000), 336, (1500, 1000)),
        ((2000, 3000), 224, (500, 750)),
        ((8000, 6000), 100, (1000, 750)),  # eighths are the least that a decoder gives
        ((1000, 600), 336, (1000, 600)),
        ((96, 72), 336, (96, 72)),
    ],
)
def test_a_jpeg_is_decoded_no_larger_than_a_model_sees_with_something_to_spare(
    size: tuple[int, int], seen_px: int, found: tuple[int, int]
) -> None:
    data = jpeg(1, size)
    rgb = images.load_rgb(data, seen_px=seen_px)
    assert rgb.size == found
    assert min(rgb.size) >= min(images.SPARE * seen_px, *size)
    whole = images.load_rgb(data)
    fitted = [one.resize((64, 64), Pillow.Resampling.BICUBIC) for one in (rgb, whole)]
    apart = [abs(a - b) for a, b in zip(*(one.tobytes() for one in fitted), strict=True)]
    assert max(apart) <= 3
    limited = images.load_rgb(data, seen_px=seen_px, max_side_px=200)
    assert max(limited.size) <= 200
    assert images.load_rgb(encoded(picture(1, (400, 300)), "PNG"), seen_px=20).size == (400, 300)
