"""The two IPTC accessibility fields in XMP: read from any packet, written into sidecars.

`Iptc4xmpCore:AltTextAccessibility` and `ExtDescrAccessibility` are language alternatives (IPTC Photo
Metadata Standard 2021.1). Writing splices: every byte outside the two properties stays. The caption
(`dc:description`) is somebody else's and is never touched.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from xml.parsers import expat
from xml.sax.saxutils import escape

from looksay.errors import PageError

IPTC = "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/"
RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_XML = "http://www.w3.org/XML/1998/namespace"
ALT, EXTENDED = "AltTextAccessibility", "ExtDescrAccessibility"

_EMPTY = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
    '<x:xmpmeta xmlns:x="adobe:ns:meta/">\n'
    ' <rdf:RDF xmlns:rdf="' + RDF + '">\n'
    '  <rdf:Description rdf:about="">\n'
    "  </rdf:Description>\n </rdf:RDF>\n</x:xmpmeta>\n"
    '<?xpacket end="w"?>\n'
)


_TAG = re.compile(rb"""<([^\s>/]+)(?:[^>"']|"[^"]*"|'[^']*')*>""")
_DECLARED = re.compile(rb"""\s*<\?xml[^>]*?encoding\s*=\s*["']([\w.:-]+)""")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
"""What XML cannot hold."""


@dataclass(slots=True)
class _Found:
    texts: dict[str, dict[str, str]] = field(default_factory=dict)
    """Property -> language -> text."""
    spans: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Property -> byte span of its element."""
    description: tuple[int, int, bool] | None = None
    """First rdf:Description: byte offsets of its start and of its end tag; or, where it closes itself,
    of its start and its end, and True."""


def read(packet: bytes) -> tuple[str | None, str | None]:
    """(alt text, extended description) of an XMP packet; None where it has none. Damaged XML has none."""
    try:
        found = _parse(packet)
    except PageError:
        return None, None
    return _pick(found.texts.get(ALT)), _pick(found.texts.get(EXTENDED))


def write(packet: bytes | None, alt: str, extended: str, language: str) -> bytes:
    """The packet with both properties set for `language` and as the default ("" removes one); other
    languages stay. None makes a new packet. Raises PageError where the packet cannot be read."""
    packet = _EMPTY.encode() if packet is None or not packet.strip() else packet
    for name, text in ((ALT, alt), (EXTENDED, extended)):
        packet = _set(packet, name, _CONTROL.sub(" ", text).strip(), language)
    return packet


def _set(packet: bytes, name: str, text: str, language: str) -> bytes:
    found = _parse(packet)
    if found.description is None:
        raise PageError("the XMP packet has no rdf:Description; nothing was changed")
    texts = dict(found.texts.get(name, {}))
    texts = {k: v for k, v in texts.items() if k.lower() not in ("x-default", language.lower())}
    declared = _DECLARED.match(packet)
    ours = "utf-8" if declared is None or declared[1].lower() in (b"utf-8", b"utf8") else "ascii"
    element = _element(name, text, language, texts).encode(ours, "xmlcharrefreplace")
    element = element if text else b""
    if name in found.spans:
        start, end = found.spans[name]
        return packet[:start] + element + packet[end:]
    if not element:
        return packet
    start, end, self_closed = found.description
    if self_closed:
        tag = _TAG.match(packet, start)
        assert tag is not None, "it was found there before"
        return packet[: end - 2] + b">" + element + b"</" + tag[1] + b">" + packet[end:]
    return packet[:end] + b"  " + element + b"\n  " + packet[end:]


def _element(name: str, text: str, language: str, others: dict[str, str]) -> str:
    entries = [("x-default", text), (language, text), *others.items()]
    items = "".join(
        f'<rdf:li xml:lang="{escape(tag)}">{escape(words)}</rdf:li>' for tag, words in entries
    )
    return (
        f'<Iptc4xmpCore:{name} xmlns:Iptc4xmpCore="{IPTC}" xmlns:rdf="{RDF}">'
        f"<rdf:Alt>{items}</rdf:Alt></Iptc4xmpCore:{name}>"
    )


def _pick(texts: dict[str, str] | None) -> str | None:
    if not texts:
        return None
    return texts.get("x-default") or next((t for t in texts.values() if t), None)


def _self_closed(packet: bytes, start: int) -> int:
    """The end of the tag at `start` where it closes itself, else 0. (What expat reports as the place of
    such an end differs between its versions.)"""
    tag = _TAG.match(packet, start)
    return tag.end() if tag is not None and tag[0].endswith(b"/>") else 0


def _parse(packet: bytes) -> _Found:
    if packet.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise PageError(
            "the XMP packet is UTF-16; looksay writes UTF-8 packets only; nothing was changed"
        )
    found = _Found()
    parser = expat.ParserCreate(namespace_separator=" ")
    stack: list[str] = []
    starts: list[int] = []
    current, language, words = "", "", list[str]()
    closing = ""

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal current, language, closing
        stack.append(name)
        starts.append(parser.CurrentByteIndex)
        namespace, _, local = name.rpartition(" ")
        if namespace == RDF and local == "Description" and not closing:
            closing = f"{len(stack)}"
            for key in (ALT, EXTENDED):
                if f"{IPTC} {key}" in attributes:
                    found.texts[key] = {"x-default": attributes[f"{IPTC} {key}"]}
        if namespace == IPTC and local in (ALT, EXTENDED):
            current = local
            found.texts[current] = {}
        if current:
            language = attributes.get(f"{_XML} lang", "x-default")
            words.clear()

    def end(name: str) -> None:
        nonlocal current, closing
        at, began, depth = parser.CurrentByteIndex, starts.pop(), len(stack)
        stack.pop()
        namespace, _, local = name.rpartition(" ")
        text = "".join(words).strip()
        if current and local == "li":
            found.texts[current][language] = text
        if namespace == IPTC and local == current and current:
            if not found.texts[current] and text:
                found.texts[current]["x-default"] = text
            whole = _self_closed(packet, began)
            found.spans[current] = (began, whole or packet.index(b">", at) + 1)
            current = ""
        if closing == f"{depth}" and namespace == RDF and local == "Description":
            if found.description is None:
                whole = _self_closed(packet, began)
                found.description = (began, whole or at, bool(whole))
            closing = "done"

    def doctype(*_: object) -> None:
        raise PageError(
            "the XMP packet declares a document type, which XMP never does; it was not read"
        )

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = words.append
    parser.StartDoctypeDeclHandler = doctype
    try:
        parser.Parse(packet.rstrip(b"\0"), True)
    except expat.ExpatError as error:
        raise PageError(f"the XMP packet is damaged ({error}); nothing was changed") from error
    return found
