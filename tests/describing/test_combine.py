"""Captions in, one text out: what survives is said, what does not is kept with what speaks against it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pytest
from describing.test_run import Scripted
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow

from looksay.backends.base import Ranker
from looksay.data import readers
from looksay.data.scenes import captions as scene_captions
from looksay.data.scenes import description
from looksay.data.scenes.world import Scenes
from looksay.describing import combine as combining
from looksay.describing import compose, verify
from looksay.describing.combine import NOTHING_READ, NOTHING_SURVIVED, WAYS, combine
from looksay.describing.evidence import Look
from looksay.errors import BackendError, InputError, UnknownName
from looksay.experts.base import Detection, Findings
from looksay.types import Completion, Conversation, Image

ENGLISH, SCENES = readers.load("english"), readers.load("scenes")
WORLD = Scenes(7, "test")
PICTURE = Image(Pillow.new("RGB", (8, 8)))


def yes_if(true: Callable[[str], bool]) -> Scripted:
    """A verifier that looks at the question alone."""
    return Scripted(lambda asked: "Yes." if true(asked.messages[-1].text) else "No.", "verifier")


class Ranking:
    """Finds the right answer as likely as it is told to."""

    name, fingerprint, profile = "ranking", "r", Scripted().profile

    def __init__(self, log_odds: float) -> None:
        self.log_odds = log_odds

    def rank(self, conversation: Conversation, choices: Sequence[str]) -> list[float]:
        return [self.log_odds, *[0.0] * (len(choices) - 1)]


class Encoding:
    """An encoder to which every text fits as well as `fits` says."""

    name = fingerprint = "encoding"

    def __init__(self, fits: dict[str, float]) -> None:
        self.fits = fits

    def embed_images(self, images: Iterable[Image]) -> Any:
        return np.array([[1.0, 0.0] for _ in images], np.float32)

    def embed_texts(self, texts: Sequence[str]) -> Any:
        return np.array([[self.fits[t], (1 - self.fits[t] ** 2) ** 0.5] for t in texts], np.float32)


# --- four ways --------------------------------------------------------------------------------------

THREE = {
    "a": "A puppy on a sofa.",
    "b": "Two brown dogs on a couch next to a ball.",
    "c": "Two dogs lying on a sofa.",
}


def test_what_most_say_is_said_and_one_thing_has_one_name() -> None:
    found = combine(THREE, ENGLISH)
    assert found.text == "Two brown dogs on a sofa."
    assert found.confirmed
    verdicts = {one.words: one.verdict for one in found.checked}
    assert verdicts["a dog"] == verdicts["two dogs"] == "supported"
    assert verdicts["a ball"] == "contested"
    (ball,) = [one for one in found.checked if one.words == "a ball"]
    assert ball.said.spans == ()
    assert [(e.source, e.how) for e in ball.evidence] == [
        ("a", "said"),
        ("b", "said"),
        ("c", "said"),
    ]
    for one in found.checked:
        for start, end in one.said.spans:
            assert 0 <= start < end <= len(found.text)


def test_a_verifier_brings_back_what_one_model_saw_and_takes_away_what_is_not_there() -> None:
    verifier = yes_if(
        lambda question: "exactly" in question or "sofa" in question or "ball" in question
    )
    found = combine(THREE, ENGLISH, image=PICTURE, verifier=verifier)
    asked = {q.messages[-1].text for q in verifier.asked}
    assert "Is there a ball in the picture? Answer with one of these words: yes, no." in asked
    assert all(len(q.messages) == 1 and len(q.images) == 1 for q in verifier.asked)
    assert "ball" in found.text
    assert "brown" not in found.text


def test_a_detector_decides_between_them() -> None:
    box = (0.0, 0.0, 1.0, 1.0)
    seen = Findings((8, 8), detections=(Detection("cat", box, 0.9), Detection("cat", box, 0.9)))
    look = Look("detection", seen, frozenset({"cat", "dog"}))
    found = combine({"a": "Two dogs.", "b": "Two cats."}, ENGLISH, looks=[look])
    assert found.text == "Two cats."
    assert {o.words: o.verdict for o in found.checked}["a dog"] == "rejected"


def test_the_most_central_caption_as_it_is() -> None:
    found = combine(THREE, ENGLISH, by="medoid")
    assert found.text == THREE["c"]
    assert any(one.words == "a ball" for one in found.checked)


def test_a_union_is_what_the_verifier_says_whoever_said_it() -> None:
    verifier = yes_if(lambda question: "cat" not in question)
    captions = {"a": "A dog.", "b": "A cat.", "c": "A bus."}
    found = combine(captions, ENGLISH, by="union", image=PICTURE, verifier=verifier)
    assert found.text == "A dog. A bus."
    assert {e.how for one in found.checked for e in one.evidence} == {"asked"}


def test_the_two_that_fit_best_are_fused() -> None:
    captions = {"a": "A dog.", "b": "Three cats.", "c": "Two cats and a bus."}
    fits = {"A dog.": 0.1, "Three cats.": 0.9, "Two cats and a bus.": 0.8}
    found = combine(captions, ENGLISH, by="fuse", image=PICTURE, encoder=Encoding(fits))
    assert found.text == "Three cats. A bus."  # of what contradicts, what fits better


@pytest.mark.parametrize(
    ("by", "error", "told"),
    [
        ("union", InputError, "--verifier"),
        ("fuse", InputError, "--encoder"),
        ("vote", UnknownName, "medoid"),
    ],
)
def test_what_a_way_lacks_is_told(by: Any, error: type[Exception], told: str) -> None:
    with pytest.raises(error, match=told):
        combine(THREE, ENGLISH, by=by)


# --- what goes wrong --------------------------------------------------------------------------------


def test_where_nothing_survives_the_most_central_caption_stands_and_says_so() -> None:
    found = combine({"a": "A dog.", "b": "A cat.", "c": "A bus."}, ENGLISH)
    assert (found.text, found.notes) == ("A dog.", (NOTHING_SURVIVED,))
    assert not found.confirmed
    refused = combine(THREE, ENGLISH, image=PICTURE, verifier=yes_if(lambda _: False), by="union")
    assert refused.text == THREE["c"]
    assert refused.notes == (NOTHING_SURVIVED,)


def test_texts_that_the_reader_does_not_understand() -> None:
    korean = {"a": "해변의 개.", "b": "해변에 개 한 마리."}
    found = combine(korean, SCENES, language="ko")
    assert (found.text in korean.values(), found.notes, found.checked) == (
        True,
        (NOTHING_READ,),
        (),
    )


@pytest.mark.parametrize("many", [1, 2, 4])
def test_all_say_the_same(many: int) -> None:
    found = combine({str(n): "Two dogs run." for n in range(many)}, ENGLISH)
    assert (found.text, found.notes) == ("Two dogs run.", ())
    assert {one.verdict for one in found.checked} == {"unchecked" if many == 1 else "supported"}


def test_prose_is_no_evidence() -> None:
    prose = Scripted("It is hard to say without more context.", "prose")
    found = combine(THREE, ENGLISH, image=PICTURE, verifier=prose)
    assert found == combine(THREE, ENGLISH)
    assert prose.asked


def test_a_verifier_that_fails_is_told_and_not_counted_as_no() -> None:
    broken = Scripted(
        lambda _: Completion(0, error="out of memory", finish_reason="error"), "broken"
    )
    with pytest.raises(BackendError, match="broken was asked about a claim: out of memory"):
        combine(THREE, ENGLISH, image=PICTURE, verifier=broken)


@pytest.mark.parametrize(
    ("answer", "answers", "which"),
    [
        ("Yes", ("yes", "no"), 0),
        ("**No**, there is none.", ("yes", "no"), 1),
        ("Yes and no.", ("yes", "no"), None),
        ("There is a dog.", ("yes", "no"), None),
        ("There are three dogs.", ("three", "two"), 0),
        ("two or three", ("three", "two"), None),
        ("H E L L O", ("H E L L O", "S T O P"), 0),
        ("", ("yes", "no"), None),
    ],
)
def test_answers_are_read_strictly(
    answer: str, answers: tuple[str, ...], which: int | None
) -> None:
    assert verify.read(answer, answers) == which


@given(st.floats(-2000, 2000))
def test_who_ranks_answers_says_how_likely_the_claim_is(log_odds: float) -> None:
    ranking = Ranking(log_odds)
    assert isinstance(ranking, Ranker)
    question = verify.Question(PICTURE, "?", ("yes", "no"))
    ((_, asked),) = verify.ask(ranking, [question])  # type: ignore[arg-type]
    assert asked.evidence is not None
    wanted = 1 / (1 + np.exp(-np.float64(max(log_odds, -700))))
    assert asked.evidence.support == pytest.approx(wanted, abs=1e-12)


# --- writing ----------------------------------------------------------------------------------------


def test_a_caption_that_says_nothing_else_is_kept_in_its_own_words() -> None:
    captions = {"a": "Two dogs chase happily along.", "b": "A cat.", "c": "Two dogs run away."}
    assert combine(captions, ENGLISH).text == "Two dogs chase happily along."
    everything = yes_if(lambda _: True)
    more = combine(captions, ENGLISH, image=PICTURE, verifier=everything, by="union")
    assert more.text == "Two dogs chase happily along. A cat."


def test_a_writer_is_held_to_the_facts() -> None:
    answers = iter(
        ["Two dogs and a parrot on a sofa.", "Three dogs.", "“Two brown dogs rest on a sofa.”"]
    )
    writer = Scripted(lambda _: next(answers), "writer")
    found = combine(THREE, ENGLISH, writer=writer)
    assert found.text == "Two brown dogs rest on a sofa."
    assert not any(conversation.images for conversation in writer.asked)
    assert "it says what is no fact: a parrot" in writer.asked[1].messages[-1].text
    assert "three dogs" in writer.asked[2].messages[-1].text


def test_a_writer_that_makes_things_up_gives_way_to_rules() -> None:
    found = combine(THREE, ENGLISH, writer=Scripted("A parrot.", "writer"))
    assert found.text == combine(THREE, ENGLISH).text
    assert "writer did not keep to the facts" in found.notes[0]


def test_another_language_needs_a_writer() -> None:
    claims = [one.claim for one in ENGLISH.read("Two dogs.")]
    writer = Scripted("개 두 마리.", "writer")
    assert compose.by_model(claims, ENGLISH, writer, language="ko") == "개 두 마리."
    assert "in Korean" in writer.asked[0].messages[0].text
    written = combine(THREE, ENGLISH, language="ko", writer=writer)
    assert (written.text, written.notes) == ("개 두 마리.", (combining.NOT_READ_BACK,))
    captions = {"a": "Two dogs.", "b": "Two cats.", "c": "Two dogs, three cats.", "d": "Two cats."}
    without = combine(captions, ENGLISH, language="ko")
    assert without.text in captions.values()
    assert "cannot be said in ko without --writer" in without.notes[0]


# --- scenes -----------------------------------------------------------------------------------------


@given(st.integers(0, 500), st.sampled_from(["claims", "medoid"]))
def test_true_captions_make_a_true_text(index: int, by: Any) -> None:
    scene = WORLD.scene(index)
    said = {str(n): text for n, text in enumerate(scene_captions(scene)[:3])}
    truth = {one.claim for one in SCENES.read(" ".join([description(scene), *said.values()]))}
    found = combine(said, SCENES, by=by)
    told = {one.claim for one in SCENES.read(found.text)}
    assert told
    assert told <= truth


@given(st.integers(0, 500))
def test_of_three_the_one_that_errs_is_outvoted(index: int) -> None:
    scene, other = WORLD.scene(index), WORLD.scene(index + 1000)
    right = description(scene)
    found = combine({"a": right, "b": description(other), "c": right}, SCENES)
    told = {one.claim for one in SCENES.read(found.text)}
    assert told == {one.claim for one in SCENES.read(right)}


def test_every_way_is_tried_here() -> None:
    assert set(WAYS) == {"claims", "medoid", "union", "fuse"}
    assert combining.COMBINE_VERSION == 1
