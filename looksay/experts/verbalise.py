"""Findings in the sentences that CoLLaVO and MoAI put into a prompt. Pure functions.

Sources: CoLLaVO (arXiv 2402.11248) and MoAI (arXiv 2403.07508) with their released code, whose forms these
are. Where we deviate: text read in the picture is quoted (`looksay.texts.quoting`), and a box is that of its segment.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from looksay.experts.base import Detection, Findings, Relation, Segment, TextLine
from looksay.experts.boxes import Box
from looksay.texts.quoting import quoted

SUFFIXES = ("-merged", "-other", "-stuff")
"""Endings of COCO's panoptic names that say nothing about the picture."""
NOTHING = "None of detailed object information for image."
"""CoLLaVO's sentence where there are no segments."""


def plain(name: str) -> str:
    """The name without COCO's endings.

    >>> plain("wall-other-merged"), plain("door-stuff"), plain("wall-brick")
    ('wall', 'door', 'wall-brick')
    """
    while (ending := next((s for s in SUFFIXES if name.endswith(s)), None)) and name != ending:
        name = name.removesuffix(ending)
    return name


def coordinates(box: Box) -> str:
    """ "[0.00, 0.16, 0.29, 0.88]": left, top, right, bottom."""
    return "[" + ", ".join(f"{value:.2f}" for value in box) + "]"


def crayon(findings: Findings) -> str:
    """CoLLaVO's sentence, which comes before the question.

    "The image includes (#1 person) [0.00, 0.16, 0.29, 0.88], (#2 person) [0.31, 0.20, 0.58, 0.90]."
    """
    listed = crayon_list(findings.segments)
    return f"The image includes {listed}." if listed else NOTHING


def crayon_list(segments: Sequence[Segment], *, boxes: bool = True) -> str:
    """ "(#1 person) [0.00, 0.16, 0.29, 0.88], (#1 sky) […]", or without the boxes "(#1 person), (#1 sky)"."""
    return ", ".join(
        f"(#{one.number} {plain(one.name)})" + (f" {coordinates(one.box)}" if boxes else "")
        for one in segments
    )


def moai(findings: Findings) -> str:
    """MoAI's four sentences in its order (segments, detections, relations, text), those that are not empty, with
    a space between; "" where nothing was found."""
    parts = (
        boxes(findings.segments),
        boxes(findings.detections),
        relations(findings.relations),
        texts(findings.lines),
    )
    return " ".join(filter(None, parts))


def boxes(things: Sequence[Segment | Detection]) -> str:
    """MoAI's sentence of segments, and that of detections; "" where there are none.

    "The image includes bounding box coordinates and their objects: [0.00, 0.16, 0.29, 0.88] person, and
    [0.31, 0.20, 0.58, 0.90] horse."
    """
    head = "The image includes bounding box coordinates and their objects"
    return _sentence(head, (f"{coordinates(one.box)} {plain(one.name)}" for one in things))


def relations(found: Sequence[Relation]) -> str:
    """MoAI's sentence of relations; "" where there are none. Numbers stand where the relations speak of more than
    one thing of a name, or of one that is not the first.

    "The image includes relationships between objects: person (#1) is riding horse, and person (#2) is left of
    horse."
    """
    numbers: dict[str, set[int]] = {}
    for one in found:
        numbers.setdefault(plain(one.subject), set()).add(one.subject_number)
        numbers.setdefault(plain(one.object), set()).add(one.object_number)

    def called(name: str, number: int) -> str:
        name = plain(name)
        return name if numbers[name] == {1} else f"{name} (#{number})"

    return _sentence(
        "The image includes relationships between objects",
        (
            f"{called(one.subject, one.subject_number)} is {one.predicate} "
            f"{called(one.object, one.object_number)}"
            for one in found
        ),
    )


def texts(lines: Sequence[TextLine]) -> str:
    """MoAI's sentence of text that stands in the picture, quoted; "" where there is none.

    'The image includes text descriptions: "NO SWIMMING", and "DEEP WATER".'
    """
    return _sentence("The image includes text descriptions", (quoted(one.text) for one in lines))


def _sentence(head: str, items: Iterable[str]) -> str:
    listed = ", and ".join(items)
    return f"{head}: {listed}." if listed else ""
