"""COCO captions, nocaps, CHAIR and alt texts: read from the official formats, scored by what papers print."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pictures import jpeg, put

from looksay.errors import InputError
from looksay.evaluation.benchmark import Answer, Benchmark, Item, checked
from looksay.evaluation.benchmarks import alttext, chair, coco_captions, nocaps
from looksay.evaluation.measures import by_kind, interval

SAID = {
    391895: ["A man on a red moped.", "A person rides a small bike."],
    60623: ["A girl eats cake with a spoon.", "Young girl with a cake."],
    483108: ["A dog waits for the train.", "The train comes and a dog waits."],
    384213: ["Two cats on a blue couch.", "Cats asleep on the couch."],
}
WORDS = ["a", "man", "dog", "cake", "waits", "on", "the", "couch", "train", "sleeps"]


def figures(
    benchmark: Benchmark, items: list[Item], say: Callable[[Item], str], compat: Any = "strict"
) -> dict[str, float]:
    found = benchmark.score([Answer(item, say(item)) for item in items], compat, [])
    return {m.name: interval(m, samples=20).value for m in found}


def first(item: Item) -> str:
    return str(item.truth["captions"][0])


def name(number: int) -> str:
    return f"COCO_val2014_{number:012d}.jpg"


def karpathy(folder: Path) -> Path:
    """dataset_coco.json as Karpathy's readme has it: four photographs, the last of val, none of train."""
    images = [
        {
            "filepath": "val2014",
            "sentids": [10 * n, 10 * n + 1],
            "filename": name(number),
            "imgid": n,
            "split": "val" if n == 3 else "test",
            "sentences": [
                {
                    "tokens": said.lower().rstrip(".").split(),
                    "raw": said,
                    "imgid": n,
                    "sentid": 10 * n + k,
                }
                for k, said in enumerate(texts)
            ],
            "cocoid": number,
        }
        for n, (number, texts) in enumerate(SAID.items())
    ]
    for n, number in enumerate(SAID):
        put(folder / "val2014" / name(number), jpeg(n))
    put(folder / "dataset_coco.json", json.dumps({"images": images, "dataset": "coco"}))
    return folder


def edit(path: Path, change: Callable[[Any], None]) -> None:
    content = json.loads(path.read_text("utf-8"))
    change(content)
    path.write_text(json.dumps(content), "utf-8")


def test_karpathy_s_split_and_blip_s_lists_are_one(tmp_path: Path) -> None:
    folder = karpathy(tmp_path)
    items = checked(coco_captions.read(folder, "test"), "coco_captions")
    assert [item.id for item in items] == ["391895", "60623", "483108"]
    assert items[0].truth == {"captions": SAID[391895]}
    assert [item.id for item in coco_captions.read(folder, "val")] == ["384213"]
    (folder / "dataset_coco.json").unlink()
    rows = [{"image": f"val2014/{name(n)}", "caption": SAID[n]} for n in list(SAID)[:3]]
    put(folder / "coco_karpathy_test.json", json.dumps(rows))
    assert coco_captions.read(folder, "test") == items
    with pytest.raises(InputError, match=r"neither dataset_coco\.json nor coco_karpathy_val\.json"):
        coco_captions.read(folder, "val")


def test_captions_that_repeat_the_references_score_highest(tmp_path: Path) -> None:
    folder = karpathy(tmp_path)
    edit(
        folder / "dataset_coco.json",
        lambda c: [image["sentences"].pop() for image in c["images"]],
    )
    items = coco_captions.read(folder, "test")
    found = figures(coco_captions, items, first)
    assert list(found) == ["CIDEr-D", "BLEU-4", "ROUGE-L", "length", "unreadable"]
    assert found["CIDEr-D"] == pytest.approx(1000)
    assert found["BLEU-4"] == pytest.approx(100)
    assert found["ROUGE-L"] == pytest.approx(100)
    assert found["length"] == pytest.approx((6 + 7 + 6) / 3)
    empty = figures(coco_captions, items, lambda item: " \n")
    assert (empty["CIDEr-D"], empty["unreadable"], empty["length"]) == (0, 100, 0)
    assert empty["BLEU-4"] < 1e-6


def test_the_order_of_answers_changes_no_figure(tmp_path: Path) -> None:
    items = coco_captions.read(karpathy(tmp_path), "test")
    draw = random.Random(3)
    said = {item.id: " ".join(draw.choices(WORDS, k=7)) for item in items}
    assert figures(coco_captions, items, lambda item: said[item.id]) == figures(
        coco_captions, items[::-1], lambda item: said[item.id]
    )


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (
            lambda c: c["images"].append(dict(c["images"][0])),
            r"entry 5 of 5 \(cocoid 391895\).*before",
        ),
        (lambda c: c["images"][1].update(split="dev"), r"entry 2 of 4.*'split' should be train or"),
        (lambda c: c["images"][1]["sentences"].clear(), r"entry 2 of 4.*no caption"),
        (lambda c: c["images"][1]["sentences"][0].update(raw=" "), r"entry 2 of 4.*'raw' is empty"),
        (lambda c: c["images"][0].update(filename="gone.jpg"), r"entry 1 of 4.*gone\.jpg"),
        (
            lambda c: c["images"].pop(0) and c.pop("images"),
            r"expected an object with the key 'images'",
        ),
    ],
)
def test_faults_of_the_split_name_the_entry(
    tmp_path: Path, change: Callable[[Any], None], fault: str
) -> None:
    folder = karpathy(tmp_path)
    edit(folder / "dataset_coco.json", change)
    with pytest.raises(InputError, match=fault):
        coco_captions.read(folder, "test")


def test_a_split_cut_off_is_no_split(tmp_path: Path) -> None:
    path = karpathy(tmp_path) / "dataset_coco.json"
    path.write_text(path.read_text("utf-8")[:-30], "utf-8")
    with pytest.raises(InputError, match=r"dataset_coco\.json is not JSON"):
        coco_captions.read(tmp_path, "test")
    put(tmp_path / "b" / "coco_karpathy_test.json", json.dumps([{"image": "val2014/a.jpg"}]))
    with pytest.raises(InputError, match=r"entry 1 of 1.*does not end in its number"):
        coco_captions.read(tmp_path / "b", "test")


NOCAPS = {
    "0013ea2087020901": "in-domain",
    "001464cfae2a30b8": "in-domain",
    "004886b7d043cfef": "near-domain",
    "005a4e24ebcf1b1a": "out-domain",
}


def opened(folder: Path) -> Path:
    """nocaps_val_4500_captions.json as nocaps.org shows it, with the domains of the released file."""
    images = [
        {
            "id": n,
            "open_images_id": photo,
            "height": 72,
            "width": 96,
            "coco_url": f"https://s3.amazonaws.com/nocaps/val/{photo}.jpg",
            "file_name": f"{photo}.jpg",
            "license": 0,
            "date_captured": "2018-11-06 11:04:33",
            "domain": domain,
        }
        for n, (photo, domain) in enumerate(NOCAPS.items())
    ]
    annotations = [
        {"image_id": n, "id": n, "caption": texts[0]} for n, texts in enumerate(SAID.values())
    ]
    for n, photo in enumerate(NOCAPS):
        put(folder / "val" / f"{photo}.jpg", jpeg(n))
    content = {"licenses": [], "info": {}, "images": images, "annotations": annotations}
    put(folder / "nocaps_val_4500_captions.json", json.dumps(content))
    return folder


def test_nocaps_is_parted_by_domain(tmp_path: Path) -> None:
    items = nocaps.read(opened(tmp_path))
    assert {item.id: item.kind for item in items} == dict(zip("0123", NOCAPS.values(), strict=True))
    found = nocaps.score([Answer(item, first(item)) for item in items])
    parts = by_kind(found[0], {item.id: item.kind for item in items})
    assert [(part.kind, round(interval(part).value)) for part in parts] == [
        ("in-domain", 1000),
        ("near-domain", 1000),
        ("out-domain", 1000),
    ]
    alone = {m.name: interval(m).value for m in found[5:]}
    # One picture's n-grams are in every picture of its set, so they weigh nothing.
    assert alone["CIDEr-D of out-domain alone"] == 0
    assert alone["CIDEr-D of in-domain alone"] == pytest.approx(1000)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (
            lambda c: c["images"][2].update(domain="far"),
            r"entry 3 of 4.*'domain' should be in-domain",
        ),
        (lambda c: c["images"][2].update(id=0), r"entry 3 of 4.*before"),
        (lambda c: c["annotations"].pop(1), r"entry 2 of 4.*no caption of it"),
        (lambda c: c["annotations"][3].update(image_id=9), r"entry 4 of 4.*no caption of it"),
        (
            lambda c: c["annotations"].append({"image_id": 9, "caption": "a"}),
            r"entry 5 of 5.*image_id 9",
        ),
        (lambda c: c["annotations"][3].update(caption=""), r"entry 4 of 4.*'caption' is empty"),
        (lambda c: c["images"][3].update(file_name="b.jpg"), r"entry 4 of 4.*'b\.jpg' is not in"),
    ],
)
def test_faults_of_nocaps_name_the_entry(
    tmp_path: Path, change: Callable[[Any], None], fault: str
) -> None:
    edit(opened(tmp_path) / "nocaps_val_4500_captions.json", change)
    with pytest.raises(InputError, match=fault):
        nocaps.read(tmp_path)


def instances(folder: Path) -> Path:
    """Karpathy's split and COCO's instances: {"annotations": […], "categories": […]}."""
    categories = [(1, "person"), (4, "motorcycle"), (6, "bus"), (18, "dog"), (61, "cake")]
    there = [(391895, 1), (391895, 4), (391895, 4), (60623, 61), (483108, 18), (384213, 6), (42, 6)]
    content = {
        "info": {},
        "images": [],
        "annotations": [
            {
                "id": n,
                "image_id": image,
                "category_id": category,
                "iscrowd": 0,
                "bbox": [0, 0, 1, 1],
            }
            for n, (image, category) in enumerate(there)
        ],
        "categories": [{"id": n, "name": word, "supercategory": ""} for n, word in categories],
    }
    put(karpathy(folder) / "instances_val2014.json", json.dumps(content))
    return folder


def test_chair_counts_what_is_not_there(tmp_path: Path) -> None:
    items = chair.read(instances(tmp_path), "long")
    assert [item.truth["instances"] for item in items] == [
        ["motorcycle", "person"],
        ["cake"],
        ["dog"],
    ]
    said = {
        "391895": "A man and a dog on a moped, a dog.",  # two of four mentions
        "60623": "A girl, a spoon and a cake.",  # the girl and the spoon only the references name
        "483108": "Somewhere outside.",
    }
    found = figures(chair, items, lambda item: said[item.id])
    assert found["CHAIRi"] == pytest.approx(100 * 2 / 7)
    assert found["CHAIRs"] == pytest.approx(100 / 3)
    # There: person, motorcycle (and the bicycle of a reference); person, cake, spoon; dog, train.
    assert found["recall"] == pytest.approx(100 * 5 / 8)
    assert found["length"] == pytest.approx((10 + 7 + 2) / 3)
    assert found["no object named"] == pytest.approx(100 / 3)
    assert figures(chair, items, first)["CHAIRi"] == 0


def test_chair_with_the_paper_s_faults_sees_no_bus(tmp_path: Path) -> None:
    items = chair.read(instances(tmp_path), "short")
    assert items[0].max_tokens < chair.read(tmp_path, "long")[0].max_tokens
    found = {
        compat: figures(chair, items, lambda _: "A bus.", compat)
        for compat in ("strict", "official")
    }
    assert found["strict"]["CHAIRs"] == 100
    assert found["official"]["CHAIRs"] == 0


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda c: c["categories"][0].update(name="Person"), r"entry 1 of 5.*'name' should be"),
        (
            lambda c: c["annotations"][1].update(category_id=99),
            r"entry 2 of 7.*category_id 99 is not",
        ),
        (lambda c: c["annotations"][1].pop("image_id"), r"entry 2 of 7.*no 'image_id'"),
    ],
)
def test_faults_of_instances_name_the_entry(
    tmp_path: Path, change: Callable[[Any], None], fault: str
) -> None:
    edit(instances(tmp_path) / "instances_val2014.json", change)
    with pytest.raises(InputError, match=fault):
        chair.read(tmp_path)


def pairs(folder: Path, rows: list[dict[str, Any]] | None = None) -> Path:
    found = rows or [
        {
            "image": "images/a.jpg",
            "alt": "A lighthouse on a rock at dusk.",
            "section": "The harbour",
        },
        {"image": "images/b.jpg", "alt": "The image shows two dogs in snow.", "section": "Winter"},
        {"image": "images/c.jpg", "alt": "Ein Hund im Schnee.", "section": "W", "lang": "de"},
    ]
    for n, letter in enumerate("abc"):
        put(folder / "images" / f"{letter}.jpg", jpeg(n))
    put(folder / "pairs.jsonl", "".join(json.dumps(row) + "\n" for row in found))
    return folder


def test_alt_texts_are_asked_for_as_describe_does(tmp_path: Path) -> None:
    plain, section = (alttext.read(pairs(tmp_path), variant) for variant in alttext.CARD.variants)
    words = [
        [" ".join(m.text for m in item.conversation.messages) for item in items]
        for items in (plain, section)
    ]
    assert "harbour" not in words[0][0]
    assert 'Heading: "The harbour"' in words[1][0]
    assert "German" in words[0][2]
    assert [item.id for item in plain] == ["images/a.jpg", "images/b.jpg", "images/c.jpg"]


def test_alt_texts_are_cleaned_before_they_are_scored(tmp_path: Path) -> None:
    items = alttext.read(pairs(tmp_path))
    found = figures(alttext, items, first)
    assert found["CIDEr-D"] == pytest.approx(1000)
    assert found["ROUGE-L"] == pytest.approx(100)
    assert figures(alttext, items, lambda item: f'Alt text: "{first(item)}"') == found
    refused = figures(alttext, items, lambda _: "DECORATIVE")
    assert (refused["called decoration"], refused["unreadable"], refused["CIDEr-D"]) == (
        100,
        100,
        0,
    )


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        ([{"image": "images/a.jpg", "alt": " "}], r"entry 1 of 1.*'alt' is empty"),
        ([{"image": "images/a.jpg", "alt": "A."}] * 2, r"entry 2 of 2.*before"),
        ([{"image": "images/z.jpg", "alt": "A."}], r"entry 1 of 1.*'images/z\.jpg' is not in"),
        ([{"image": "images/a.jpg", "text": "A."}], r"entry 1 of 1.*no 'alt'"),
    ],
)
def test_faults_of_pairs_name_the_line(
    tmp_path: Path, rows: list[dict[str, Any]], fault: str
) -> None:
    with pytest.raises(InputError, match=fault):
        alttext.read(pairs(tmp_path, rows))


def test_a_pair_cut_off_names_its_line(tmp_path: Path) -> None:
    path = pairs(tmp_path) / "pairs.jsonl"
    path.write_text(path.read_text("utf-8")[:-9], "utf-8")
    with pytest.raises(InputError, match=r"pairs\.jsonl is not JSON: .* in line 3"):
        alttext.read(tmp_path)


def test_a_textbook_s_pictures_and_the_texts_that_people_wrote(shared_data: Path) -> None:
    items = alttext.read(shared_data / "textbook", "section")
    assert len(checked(items, "alttext")) == 400
    assert {item.kind for item in items} == {"photo_or_art", "diagram", "chart", "map"}
    own = figures(alttext, items, first)
    assert own["CIDEr-D"] == pytest.approx(1000)
    other = {item.id: first(items[n - 1]) for n, item in enumerate(items)}
    moved = figures(alttext, items, lambda item: other[item.id])
    assert moved["CIDEr-D"] < 20
    assert moved["ROUGE-L"] < 20
    assert moved["length"] == pytest.approx(own["length"])
