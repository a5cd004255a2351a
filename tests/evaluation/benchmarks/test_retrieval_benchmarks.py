"""Benchmarks of dual encoders: official files, who finds whom, vectors that are kept, faults that are named."""

from __future__ import annotations

import json
import pickle
import random
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("numpy", reason="no numpy: no vectors")

import numpy as np
from conftest import need
from pictures import encoded, put
from PIL import Image as Pillow

from looksay.backends.base import Encoder, Matcher
from looksay.data.reading import Place
from looksay.errors import BackendError, InputError
from looksay.evaluation import benchmark as benchmarks
from looksay.evaluation import embedding, report
from looksay.evaluation.benchmark import Item
from looksay.evaluation.benchmarks import (
    _frames,
    _retrieval,
    coco_retrieval,
    flickr30k,
    imagenet_clip,
    msrvtt,
    msvd,
)
from looksay.images import load_rgb
from looksay.types import Conversation, Image

SIZE = 16


def draw(path: Path, number: int) -> None:
    """A picture that an oracle knows by its red."""
    put(path, encoded(Pillow.new("RGB", (8, 8), (number, 0, 0)), "PNG"))


@dataclass
class Oracle:
    """Puts picture n and every text that ends in n at the same place, but for what it `misses`."""

    name: str = "hub:oracle"
    fingerprint: str = "oracle-1"
    misses: frozenset[int] = frozenset()
    """Numbers whose texts it puts where the next number's are."""
    fails_after: int = 10**9
    embedded: list[int] = field(default_factory=list)

    def embed_images(self, images: Iterable[Image]) -> Any:
        return self._rows([load_rgb(image.source).getpixel((0, 0))[0] for image in images])

    def embed_texts(self, texts: Sequence[str]) -> Any:
        found = [int(re.findall(r"\d+", text)[-1]) for text in texts]
        return self._rows([(n + 1) % SIZE if n in self.misses else n for n in found])

    def _rows(self, numbers: Sequence[int]) -> Any:
        if len(self.embedded) + len(numbers) > self.fails_after:
            raise BackendError("out of order")
        self.embedded += numbers
        return np.eye(SIZE, dtype=np.float32)[numbers]


class Looker(Oracle):
    """Looks again, and then finds even what it missed."""

    def match(self, images: Sequence[Image], texts: Sequence[str]) -> Any:
        number = load_rgb(images[0].source).getpixel((0, 0))[0]
        self.embedded.append(-1)
        right = [int(re.findall(r"\d+", text)[-1]) == number for text in texts]
        return np.array(right, np.float32) * 5


class Same(Oracle):
    """Says the same of everything."""

    def _rows(self, numbers: Sequence[int]) -> Any:
        return np.eye(SIZE, dtype=np.float32)[[0] * len(numbers)]


def captions(number: int, count: int) -> list[dict[str, Any]]:
    """As Karpathy's files have them."""
    return [
        {
            "tokens": ["thing", str(number)],
            "raw": f"Thing {n}, {number}",
            "imgid": number,
            "sentid": n,
        }
        for n in range(count)
    ]


def a_flickr30k(folder: Path) -> None:
    rows: list[dict[str, Any]] = [
        {
            "sentids": [0, 1],
            "imgid": n,
            "sentences": captions(n, 2 + n % 2),
            "split": "val" if n == 4 else "test",
            "filename": f"100{n}.jpg",
        }
        for n in range(5)
    ]
    put(folder / "dataset_flickr30k.json", json.dumps({"images": rows, "dataset": "flickr30k"}))
    for n in range(5):
        draw(folder / "flickr30k-images" / f"100{n}.jpg", n)


def a_coco_retrieval(folder: Path) -> None:
    rows: list[dict[str, Any]] = [
        {
            "filepath": "val2014",
            "sentids": [0, 1],
            "filename": f"COCO_val2014_00000000000{n}.jpg",
            "imgid": n,
            "split": "restval" if n == 4 else "test",
            "sentences": captions(n, 2),
            "cocoid": n,
        }
        for n in range(5)
    ]
    put(folder / "dataset_coco.json", json.dumps({"images": rows, "dataset": "coco"}))
    for row in rows[:4]:
        draw(folder / "val2014" / row["filename"], row["imgid"])


def a_msrvtt(folder: Path) -> None:
    """As BLIP's VideoDataset reads it."""
    rows = [{"clip_name": f"video977{n}", "caption": f"somebody does {n}"} for n in range(4)]
    put(folder / "msrvtt_test.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    for n in range(4):
        for frame in range(n + 1):
            draw(folder / "frames" / f"video977{n}" / f"{frame + 1}.png", n)


def a_msvd(folder: Path) -> None:
    """As CLIP4Clip's loader reads it; the captions are of all videos, not of the list's alone."""
    said = {f"v_{n}_5": [["a", "thing", str(n)]] * (1 + n) for n in range(6)}
    put(folder / "raw-captions.pkl", pickle.dumps(said))
    put(folder / "test_list.txt", "".join(f"v_{n}_5\n" for n in (2, 0, 1, 3)))
    for n in range(4):
        draw(folder / "frames" / f"v_{n}_5" / "0001.png", n)


def a_imagenet_clip(folder: Path) -> None:
    """The challenge's files as Kaggle has them."""
    ids = [f"n0{n}" for n in range(4)]
    lines = [f"{which} thing {n}, second name" for n, which in enumerate(ids)]
    put(folder / "LOC_synset_mapping.txt", "\n".join(lines) + "\n")
    photos = "".join(f"ILSVRC2012_val_0000000{n},{ids[n]} 85 1 499 272 \n" for n in (3, 0, 1, 2))
    put(folder / "LOC_val_solution.csv", f"ImageId,PredictionString\n{photos}")
    for n in range(4):
        name = f"ILSVRC2012_val_0000000{n}.JPEG"
        draw(folder / "ILSVRC" / "Data" / "CLS-LOC" / "val" / name, n)


MAKE: dict[str, Callable[[Path], None]] = {
    "flickr30k": a_flickr30k,
    "coco_retrieval": a_coco_retrieval,
    "msrvtt": a_msrvtt,
    "msvd": a_msvd,
    "imagenet_clip": a_imagenet_clip,
}
MODULES: dict[str, Any] = {
    "flickr30k": flickr30k,
    "coco_retrieval": coco_retrieval,
    "msrvtt": msrvtt,
    "msvd": msvd,
    "imagenet_clip": imagenet_clip,
}


def read(name: str, folder: Path, variant: str = "") -> list[Item]:
    MAKE[name](folder)
    module = MODULES[name]
    found = module.read(folder, variant or module.CARD.variants[0])
    return benchmarks.checked(found, name)


def run(
    name: str, items: Sequence[Item], encoder: Encoder, folder: Path, **how: Any
) -> dict[str, float]:
    found = embedding.evaluate(encoder, name, MODULES[name], items, folder, samples=20, **how)
    assert found.fingerprint == encoder.fingerprint
    assert not found.failures
    return {one.measure.name: one.interval.value for one in found.figures}


@pytest.mark.parametrize("name", MODULES)
def test_who_knows_finds_everything_and_who_says_the_same_of_everything_nothing(
    name: str, tmp_path: Path
) -> None:
    items = read(name, tmp_path / "files")
    best = run(name, items, Oracle(), tmp_path / "out")
    assert set(best.values()) == {100}
    same = run(name, items, Same(fingerprint="same-1"), tmp_path / "out")
    # With four of them, right ones are among the first five: the first four are wrong at most.
    assert {value for figure, value in same.items() if figure.endswith(("R@1", "accuracy"))} == {0}
    loose = run(name, items, Same(fingerprint="same-1"), tmp_path / "out", compat="official")
    assert max(v for f, v in loose.items() if f.endswith(("R@1", "accuracy"))) > 0


@pytest.mark.parametrize("name", MODULES)
def test_order_changes_nothing(name: str, tmp_path: Path) -> None:
    items = read(name, tmp_path / "files")
    encoder = Oracle(misses=frozenset({1}))
    plain = run(name, items, encoder, tmp_path / "one")
    assert plain != run(name, items, Oracle(fingerprint="oracle-2"), tmp_path / "one")
    for seed in range(3):
        mixed = random.Random(seed).sample(items, len(items))
        assert run(name, mixed, encoder, tmp_path / str(seed)) == plain


def test_flickr30k_by_hand(tmp_path: Path) -> None:
    items = read("flickr30k", tmp_path / "files")
    assert [item.id for item in items[:5]] == [
        *(f"picture 100{n}.jpg" for n in range(4)),
        "text 1 of 1000.jpg",
    ]
    assert len(items) == 4 + 2 + 3 + 2 + 3
    # The texts of 1 lie with picture 2: of ten captions three miss; picture 1 finds nothing, and picture 2
    # meets its own two and three others, which tie with them and so come first.
    found = run("flickr30k", items, Oracle(misses=frozenset({1})), tmp_path / "out")
    assert list(found) == [f"{way} R@{k}" for way in ("TR", "IR") for k in (1, 5, 10)]
    assert found["TR R@1"] == 50
    assert found["IR R@1"] == 70
    assert found["IR R@5"] == found["TR R@10"] == 100
    loose = run(
        "flickr30k", items, Oracle(misses=frozenset({1})), tmp_path / "out", compat="official"
    )
    assert loose["TR R@1"] == 50  # the wrong ones have the lower index
    assert [item.id for item in read("flickr30k", tmp_path / "files", "val")] == [
        "picture 1004.jpg",
        "text 1 of 1004.jpg",
        "text 2 of 1004.jpg",
    ]


def test_papers_print_text_to_video_first(tmp_path: Path) -> None:
    items = read("msrvtt", tmp_path / "files")
    found = run("msrvtt", items, Oracle(misses=frozenset({1})), tmp_path / "out")
    ways = ("text to video", "video to text")
    assert list(found) == [f"{way} R@{k}" for way in ways for k in (1, 5, 10)]
    assert found["text to video R@1"] == 75
    assert found["video to text R@1"] == 50  # 1 finds nothing; 2 finds two texts that tie


def test_msvd_has_several_sentences_per_video(tmp_path: Path) -> None:
    items = read("msvd", tmp_path / "files")
    assert [item.id for item in items[:4]] == [f"picture v_{n}_5" for n in (2, 0, 1, 3)]
    assert len(items) == 4 + 3 + 1 + 2 + 4
    assert items[4].conversation.messages[0].parts == ("a thing 2",)


def test_the_golden_ranks_come_out_of_vectors(shared_data: Path) -> None:
    folder = shared_data.parent / "golden/retrieval/given"
    need(folder.is_dir(), "no golden ranks")
    similarity = np.array(json.loads((folder / "similarity.json").read_text()))
    golden = json.loads((folder / "golden.json").read_text())
    count = len(similarity)
    items = _retrieval.in_order(
        [item for n in range(count) for item in _retrieval.items(str(n), [Image(b"")], [""] * 5)]
    )
    # Unit rows whose products are these similarities, but for one factor: the pictures are the axes, and
    # texts fill up to length 1 on an axis of their own.
    factor = 1 / (np.linalg.norm(similarity, axis=0).max() * 1.001)
    texts = factor * similarity.T
    rest = np.sqrt(1 - (texts**2).sum(axis=1, keepdims=True))
    rows = [np.hstack([np.eye(count), np.zeros((count, 1))]), np.hstack([texts, rest])]
    vectors = np.concatenate(rows).astype(np.float32)
    found = flickr30k.score_embeddings(items, vectors, "official")
    values = {one.name: one.value(*np.sum(list(one.rows.values()), axis=0)) * 100 for one in found}
    for way, expected in zip(("TR", "IR"), ("image_to_text(TR)", "text_to_image(IR)"), strict=True):
        for k in (1, 5, 10):
            assert values[f"{way} R@{k}"] == pytest.approx(golden[expected][f"R@{k}"])


def test_captions_of_one_picture_are_one_cluster(tmp_path: Path) -> None:
    items = read("flickr30k", tmp_path / "files")
    found = embedding.evaluate(Oracle(), "flickr30k", flickr30k, items, tmp_path, samples=5)
    sizes = {f.measure.name: (f.interval.samples, f.interval.clusters) for f in found.figures}
    assert sizes["TR R@1"] == (4, 4)
    assert sizes["IR R@1"] == (10, 4)
    told = report.record([found])["results"][0]
    assert (told["model"], told["asked"], told["failed"]) == ("hub:oracle", 14, 0)


def test_imagenet_by_wordings_and_chosen_names(tmp_path: Path) -> None:
    items = read("imagenet_clip", tmp_path / "files")
    told = [item.conversation.messages[0].parts for item in items[4:]]
    assert told[0] == ("a photo of a thing 0.",)
    found = run("imagenet_clip", items, Oracle(misses=frozenset({2})), tmp_path / "out")
    # Class 2 lies with class 3: photograph 2 finds nothing there, photograph 3 a tie.
    assert found == {"accuracy": 50, "among the first five": 100}
    several = imagenet_clip.read(tmp_path / "files", "ensemble")[-1]
    assert len(several.conversation.messages[0].parts) == 7
    put(tmp_path / "files" / "classnames.txt", "zero 0\none 1\ntwo 2\nthree 3\n")
    named = imagenet_clip.read(tmp_path / "files", "name")
    assert named[-1].conversation.messages[0].parts == ("three 3",)
    put(tmp_path / "files" / "classnames.txt", "zero 0\n")
    with pytest.raises(InputError, match=r"classnames\.txt has 1 names; expected 4"):
        imagenet_clip.read(tmp_path / "files")


def test_several_parts_are_embedded_as_the_mean_of_their_directions(tmp_path: Path) -> None:
    draw(tmp_path / "1.png", 1)
    draw(tmp_path / "2.png", 2)
    frames = [Image(tmp_path / f"{n}.png") for n in (1, 2, 2)]
    items = [
        Item("video", Conversation.ask(*frames)),
        Item("class", Conversation.ask("a 1", "the 3")),
        Item("one", Conversation.ask("a 5")),
    ]
    rows, _ = embedding.embed(Oracle(), items, tmp_path / "out")
    assert rows.dtype == np.float32
    expected = np.zeros((3, SIZE))
    expected[0, [1, 2]] = np.array([1, 2]) / np.sqrt(5)
    expected[1, [1, 3]] = 1 / np.sqrt(2)
    expected[2, 5] = 1
    assert rows == pytest.approx(expected, abs=1e-6)


def test_pictures_and_words_in_one_item_are_refused(tmp_path: Path) -> None:
    draw(tmp_path / "1.png", 1)
    item = Item("both", Conversation.ask(Image(tmp_path / "1.png"), "What is it?"))
    with pytest.raises(InputError, match="gave 1 embeddings of 2 pictures or texts"):
        embedding.embed(Oracle(), [item], tmp_path / "out")


@dataclass
class Spoilt(Looker):
    """Gives text 3 no direction, and cannot look at pairs again."""

    value: float = float("nan")

    def _rows(self, numbers: Sequence[int]) -> Any:
        rows = super()._rows(numbers)
        rows[np.array(numbers) == 3] = self.value
        return rows

    def match(self, images: Sequence[Image], texts: Sequence[str]) -> Any:
        return np.where(super().match(images, texts) > 0, self.value, 0).astype(np.float32)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.0])
def test_an_embedding_without_a_direction_is_refused_by_name_and_not_kept(
    value: float, tmp_path: Path
) -> None:
    items = [Item(f"text {n}", Conversation.ask(f"a {n}")) for n in (1, 3)]
    with pytest.raises(InputError, match="hub:oracle gave 'text 3' the embedding of length"):
        embedding.embed(Spoilt(value=value), items, tmp_path / "out")
    assert not list(tmp_path.rglob("*.npy"))


def test_logits_that_are_no_numbers_are_refused_by_name_and_not_kept(tmp_path: Path) -> None:
    items = read("flickr30k", tmp_path / "files")
    vectors, _ = embedding.embed(Looker(), items, tmp_path / "kept")
    pairs = flickr30k.candidates(items, vectors)[:1]
    with pytest.raises(
        InputError, match=r"'picture 1000\.jpg' with 'text 1 of 1000\.jpg' is no finite"
    ):
        embedding.match(Spoilt(), "f", items, pairs, tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*.npy"))


def test_kept_vectors_that_are_no_numbers_are_embedded_again(tmp_path: Path) -> None:
    items = [Item("text 1", Conversation.ask("a 1"))]
    first, _ = embedding.embed(Oracle(), items, tmp_path)
    (path,) = tmp_path.rglob("*.npy")
    np.save(path, first * np.float32("nan"))
    again, reused = embedding.embed(Oracle(), items, tmp_path)
    assert (again.tolist(), reused) == (first.tolist(), 0)


@pytest.mark.parametrize("name", ["flickr30k", "imagenet_clip"])
def test_vectors_that_are_no_numbers_find_nothing(name: str, tmp_path: Path) -> None:
    items = read(name, tmp_path)
    vectors = np.full((len(items), 2), np.nan, np.float32)
    with pytest.raises(InputError, match="not numbers"):
        MODULES[name].score_embeddings(items, vectors, "strict")


def test_frames_are_taken_evenly_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for number in range(1, 21):
        draw(tmp_path / "long" / f"frame{number}.png", number)
    put(tmp_path / "long" / "about.txt", "no frame")
    place = Place(Path("list.jsonl"), 0, 1, {"id": "long"})
    taken = _frames.frames(place, tmp_path, "long")
    numbers = [load_rgb(image.source).getpixel((0, 0))[0] for image in taken]
    assert numbers == [1, 3, 6, 8, 11, 13, 16, 18]  # 20 frames: every 2.5th, rounded down


@pytest.mark.parametrize("video", ["../frames/long", "/frames/long", "C:long", "a/../../long"])
def test_a_video_s_name_leads_nowhere_else(video: str, tmp_path: Path) -> None:
    draw(tmp_path / "frames" / "long" / "1.png", 1)
    place = Place(Path("list.jsonl"), 0, 1, {"id": "long"})
    with pytest.raises(InputError, match=r"list\.jsonl, entry 1 of 1 .*leads out of"):
        _frames.frames(place, tmp_path / "frames", video)


def test_stopped_and_started_again_embeds_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding, "CHUNK", 2)
    items = read("flickr30k", tmp_path / "files")
    whole = Oracle()
    expected = run("flickr30k", items, whole, tmp_path / "once")
    with pytest.raises(BackendError, match="out of order"):
        run("flickr30k", items, Oracle(fails_after=6), tmp_path / "out")
    # A file that a kill cut off is written anew: the whole one takes its place in one step.
    files = sorted((tmp_path / "out").rglob("*.npy"))
    assert len(files) == 3
    files[0].write_bytes(files[0].read_bytes()[:-3])
    rest = Oracle()
    count: list[int] = []
    found = run("flickr30k", items, rest, tmp_path / "out", on_item=lambda: count.append(1))
    assert found == expected
    assert len(rest.embedded) == len(whole.embedded) - 4
    assert len(count) == len(items)
    again = Oracle()
    assert run("flickr30k", items, again, tmp_path / "out") == expected
    assert not again.embedded
    other = Oracle(fingerprint="oracle-2")
    run("flickr30k", items, other, tmp_path / "out")
    assert len(other.embedded) == len(items)


def test_a_picture_that_changed_is_embedded_anew(tmp_path: Path) -> None:
    items = read("flickr30k", tmp_path / "files")
    first = embedding.evaluate(Oracle(), "flickr30k", flickr30k, items, tmp_path, samples=5)
    draw(tmp_path / "files" / "flickr30k-images" / "1000.jpg", 9)
    encoder = Oracle()
    second = embedding.evaluate(encoder, "flickr30k", flickr30k, items, tmp_path, samples=5)
    assert 9 in encoder.embedded
    assert first.data != second.data
    assert (first.asked.reused, second.asked.reused) == (0, 10)


def test_looking_again_stands_beside_the_plain_figures(tmp_path: Path) -> None:
    items = read("flickr30k", tmp_path / "files")
    looker = Looker(misses=frozenset({1}))
    assert isinstance(looker, Matcher)
    assert not isinstance(Oracle(), Matcher)
    found = run("flickr30k", items, looker, tmp_path / "out", rerank=True)
    again = "first 128 looked at again:"
    assert found["TR R@1"] == 50
    assert found[f"TR, {again} R@1"] == found[f"IR, {again} R@1"] == 100
    assert looker.embedded.count(-1) == 4
    kept = Looker(misses=frozenset({1}))
    assert run("flickr30k", items, kept, tmp_path / "out", rerank=True) == found
    assert not kept.embedded
    with pytest.raises(InputError, match="cannot be ranked again"):
        run("flickr30k", items, Oracle(), tmp_path / "out", rerank=True)
    with pytest.raises(InputError, match="hub:oracle on msvd cannot be ranked again"):
        run("msvd", read("msvd", tmp_path / "msvd"), looker, tmp_path / "out", rerank=True)


def test_only_the_first_candidates_are_looked_at(tmp_path: Path) -> None:
    items = read("flickr30k", tmp_path / "files")
    encoder = Looker(misses=frozenset({1}))
    vectors, _ = embedding.embed(encoder, items, tmp_path / "out")
    finding = _retrieval.Finding(("a", "b"), top=1)
    pairs = finding.candidates(items, vectors)
    # The first candidate of equal ones is the lower: picture 1's is the first text of all, picture 2's one
    # of the texts of 1; every text has one picture.
    told = {(items[a].id, items[b].id) for a, b in pairs.tolist()}
    assert ("picture 1001.jpg", "text 1 of 1000.jpg") in told
    assert ("picture 1002.jpg", "text 1 of 1001.jpg") in told
    assert ("picture 1001.jpg", "text 1 of 1001.jpg") not in told
    assert len(told) == len(pairs) == 10 + 1
    logits = embedding.match(encoder, "f", items, pairs, tmp_path / "out")
    right = [items[a].image == items[b].image for a, b in pairs.tolist()]
    assert logits.tolist() == [5.0 * one for one in right]
    found = finding.score_reranked(items, vectors, pairs, logits)
    values = {one.name: one.value(*np.sum(list(one.rows.values()), axis=0)) for one in found}
    assert values["b, first 1 looked at again: R@1"] == 0.7


def test_the_first_pictures_keep_their_texts_and_all_classes(tmp_path: Path) -> None:
    items = read("flickr30k", tmp_path / "flickr")
    some = embedding.limited(items, 2)
    assert [item.id for item in some] == [
        "picture 1000.jpg",
        "picture 1001.jpg",
        *(f"text {n} of 1000.jpg" for n in (1, 2)),
        *(f"text {n} of 1001.jpg" for n in (1, 2, 3)),
    ]
    assert embedding.limited(items, None) == items
    photos = embedding.limited(read("imagenet_clip", tmp_path / "imagenet"), 1)
    assert [item.id for item in photos[1:]] == [f"class n0{n}" for n in range(4)]
    assert run("imagenet_clip", photos, Oracle(), tmp_path / "out")["accuracy"] == 100


def test_rules_that_a_benchmark_does_not_know_are_refused(tmp_path: Path) -> None:
    items = read("flickr30k", tmp_path / "files")
    with pytest.raises(
        InputError, match="flickr30k has no rules of 'lmms-eval'; it has strict, off"
    ):
        run("flickr30k", items, Oracle(), tmp_path, compat="lmms-eval")


def change(path: str, old: str, new: str) -> Callable[[Path], object]:
    return lambda folder: put(folder / path, (folder / path).read_text().replace(old, new, 1))


class Runs:
    """What a hostile pickle holds."""

    def __reduce__(self) -> Any:
        return (exec, ("print('it ran')",))


FAULTS: list[tuple[str, Callable[[Path], object], str]] = [
    ("flickr30k", lambda f: (f / "flickr30k-images" / "1002.jpg").unlink(), r"dataset_flickr30k\.json, entry 3 of 5 \(imgid 2\): the image '1002\.jpg' is not in"),
    ("flickr30k", change("dataset_flickr30k.json", '"1001.jpg"', '"1000.jpg"'), r"entry 2 of 5 \(imgid 1\): the image '1000\.jpg' was there before"),
    ("flickr30k", change("dataset_flickr30k.json", '"test"', '"exam"'), r"entry 1 of 5 .*'split' should be train or restval or val or test; found 'exam'"),
    ("flickr30k", change("dataset_flickr30k.json", '"raw": "Thing 0, 0"', '"raw": " "'), r"entry 1 of 5 .*'raw' is empty"),
    ("flickr30k", change("dataset_flickr30k.json", '"dataset"', '"datas'), r"dataset_flickr30k\.json is not JSON"),
    ("flickr30k", change("dataset_flickr30k.json", '"images"', '"photos"'), "expected an object with the key 'images'"),
    ("coco_retrieval", lambda f: (f / "val2014" / "COCO_val2014_000000000003.jpg").unlink(), r"dataset_coco\.json, entry 4 of 5 \(cocoid 3\): the image"),
    ("msrvtt", change("msrvtt_test.jsonl", "video9771", "video9770"), r"msrvtt_test\.jsonl, entry 2 of 4 \(clip_name 'video9770'\): the video 'video9770' was there before"),
    ("msrvtt", change("msrvtt_test.jsonl", "video9771", "video1"), r"entry 2 of 4 .*the video 'video1' has no folder of frames .* ffmpeg -i video1\.mp4"),
    ("msrvtt", lambda f: (f / "frames" / "video9770" / "1.png").unlink(), "video9770 holds no frame"),
    ("msrvtt", lambda f: put(f / "frames" / "video9770" / "1.png", "no picture"), r"entry 1 of 4 .*cannot be read"),
    ("msrvtt", lambda f: put(f / "msrvtt_test.jsonl", '{"clip_name": "vi'), r"msrvtt_test\.jsonl is not JSON"),
    ("msvd", change("test_list.txt", "v_0_5", "v_9_5"), r"test_list\.txt, entry 2 of 4 \(id 'v_9_5'\): .*raw-captions\.pkl has no sentence about it"),
    ("msvd", change("test_list.txt", "v_0_5", "v_2_5"), r"entry 2 of 4 .*this video was there before"),
    ("msvd", lambda f: put(f / "test_list.txt", ""), r"test_list\.txt names no video"),
    ("msvd", lambda f: (f / "raw-captions.pkl").unlink(), r"There is no file .*raw-captions\.pkl"),
    ("msvd", lambda f: put(f / "raw-captions.pkl", pickle.dumps({"v": [["a"]]})[:-4]), r"raw-captions\.pkl is no pickle"),
    ("msvd", lambda f: put(f / "raw-captions.pkl", pickle.dumps(["a"])), r"expected a dictionary from videos to sentences"),
    ("msvd", lambda f: put(f / "raw-captions.pkl", pickle.dumps({"v_0_5": ["a dog"]})), r"video 'v_0_5': expected sentences as lists of words"),
    ("msvd", lambda f: put(f / "raw-captions.pkl", pickle.dumps({"v_0_5": Runs()})), r"raw-captions\.pkl is no pickle of a dictionary of lists of words: it wants builtins\.exec"),
    ("imagenet_clip", change("LOC_val_solution.csv", "n00", "n77"), r"LOC_val_solution\.csv, entry 2 of 4 .*the class 'n77'"),
    ("imagenet_clip", lambda f: (f / "LOC_synset_mapping.txt").unlink(), r"There is no file .*LOC_synset_mapping\.txt"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "spoil", "message"), FAULTS)
def test_faults_name_file_and_entry(
    name: str,
    spoil: Callable[[Path], object],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    MAKE[name](tmp_path)
    spoil(tmp_path)
    module = MODULES[name]
    with pytest.raises(InputError, match=message):
        module.read(tmp_path, module.CARD.variants[0])
    assert "it ran" not in capsys.readouterr().out


@pytest.mark.parametrize("name", ["flickr30k", "coco_retrieval"])
def test_a_split_without_pictures_is_told(name: str, tmp_path: Path) -> None:
    MAKE[name](tmp_path)
    path = next(tmp_path.glob("dataset_*.json"))
    put(path, path.read_text().replace('"val"', '"train"'))
    with pytest.raises(InputError, match="has no image of the split 'val'"):
        MODULES[name].read(tmp_path, "val")
