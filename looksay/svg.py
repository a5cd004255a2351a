"""Drawing SVG: nothing outside the file is read, and a drawing that claims a huge canvas is refused.

The drawing is parsed and written again first, since resvg follows paths to pictures anywhere on the
machine; what stays is internal (`#id`) or in the file itself (`data:`).
"""

from __future__ import annotations

import io
import math
import re
import xml.sax
from typing import cast
from xml.sax.saxutils import XMLGenerator
from xml.sax.xmlreader import AttributesImpl

from PIL import Image as Pillow

from looksay.errors import UnreadablePhoto

_PX = {"": 1.0, "px": 1.0, "pt": 96 / 72, "pc": 16.0, "mm": 96 / 25.4, "cm": 96 / 2.54, "in": 96.0}
_PX |= {"em": 16.0, "ex": 8.0}
_LENGTH = re.compile(r"\s*\+?([\d.]+(?:e[+-]?\d+)?)\s*([a-z]*)\s*", re.I)
_ENCODING = re.compile(rb"""\s*<\?xml[^>]*?encoding\s*=\s*["']([\w.:-]+)""")
_DEFAULT_PX = 100.0


def is_svg(head: bytes) -> bool:
    """Whether a file that begins with these bytes is SVG."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        head = head.decode("utf-16", "ignore").encode()
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return text.startswith(b"<svg") or (
        text.startswith((b"<?xml", b"<!--", b"<!doctype svg")) and b"<svg" in text
    )


def rasterise(svg: bytes, max_pixels: int) -> Pillow.Image:
    """The drawing at its own size over white. Raises UnreadablePhoto for one over the limit, and
    whatever XML and resvg raise for a damaged one."""
    import resvg_py

    source = io.StringIO()
    writer = _Closed(source)
    parser = xml.sax.make_parser()
    parser.setContentHandler(writer)
    declared = _ENCODING.match(svg)
    if declared and not declared[1].lower().startswith(b"utf"):  # expat knows few others
        parser.parse(io.StringIO(svg.decode(declared[1].decode())))
    else:
        parser.parse(io.BytesIO(svg))
    width_px, height_px = writer.size_px
    if not width_px * height_px <= max_pixels:
        raise UnreadablePhoto(
            f"{width_px:.0f} × {height_px:.0f} px is {width_px * height_px / 1e6:.0f} megapixels, over "
            f"the limit of {max_pixels / 1e6:.0f} (setting: max_megapixels)"
        )
    png = resvg_py.svg_to_bytes(
        svg_string=source.getvalue(),
        background="white",
        width=max(1, math.ceil(width_px)),
        height=max(1, math.ceil(height_px)),
        dpi=96.0,
        skip_system_fonts=b"text" not in svg,
    )
    image = cast(Pillow.Image, Pillow.open(io.BytesIO(bytes(png))))
    image.format = "SVG"
    return image


class _Closed(XMLGenerator):
    """Writes the document again without its DTD and without references to anything outside of it."""

    size_px = (0.0, 0.0)

    def __init__(self, out: io.StringIO) -> None:
        super().__init__(out, encoding="utf-8")
        self._depth = 0

    def startElement(self, name: str, attrs: AttributesImpl) -> None:  # noqa: N802
        if not self._depth:
            self.size_px = _size(attrs)
        self._depth += 1
        kept = {
            key: value
            for key, value in attrs.items()
            if key.rpartition(":")[2] != "href" or value.lstrip().startswith(("#", "data:"))
        }
        super().startElement(name, AttributesImpl(kept))

    def processingInstruction(self, target: str, data: str) -> None:  # noqa: N802
        """Style sheets elsewhere are not ours to fetch."""


def _size(root: AttributesImpl) -> tuple[float, float]:
    box = [float(n) for n in re.findall(r"[-+\d.]+(?:e[-+]?\d+)?", root.get("viewBox", ""), re.I)]
    sides = tuple(box[2:]) if len(box) == 4 and min(box[2:]) > 0 else (_DEFAULT_PX, _DEFAULT_PX)
    width, height = (_length(root.get(name, "")) for name in ("width", "height"))
    if width and not height:
        return width, width * sides[1] / sides[0]
    if height and not width:
        return height * sides[0] / sides[1], height
    return width or sides[0], height or sides[1]


def _length(text: str) -> float | None:
    match = _LENGTH.fullmatch(text)
    if match is None or match[2].lower() not in _PX:
        return None  # a percentage is one of what surrounds the drawing, which is not known here
    return float(match[1]) * _PX[match[2].lower()] or None
