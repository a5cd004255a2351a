"""Rows per second of one core that the scorers of answers read and count.

    python benchmarks/answers.py [--rows 100000] [--rounds 3]

CPU time of this process, so that a busy machine changes little. Every answer is another string.
"""

from __future__ import annotations

import argparse
import statistics
import time

from looksay.evaluation.metrics import chair, choices, mathvista, mme, pope, scienceqa, vqa
from looksay.evaluation.metrics.verdicts import tally

SAID = ("Yes, number {}.", "No, there is no such thing ({}).", "There is a thing, {}", "None of {}")
CHOSEN = ("B", "(C) number {}", "The answer is A. It is number {}.", "a dog, or {}", "D. cat {}")
OPTIONS = {"A": "a red bus", "B": "a dog", "C": "two cats", "D": "nothing"}
CAPTION = "Two dogs and a baby elephant wait at a bus stop, near a pickup truck, for number {}."


def measured(what, rounds):
    times = []
    for _ in range(rounds):
        began = time.process_time()
        what()
        times.append(time.process_time() - began)
    return statistics.median(times)


def main(rows, rounds):
    said = [SAID[n % len(SAID)].format(n) for n in range(rows)]
    chosen = [CHOSEN[n % len(CHOSEN)].format(n) for n in range(rows)]
    captions = [CAPTION.format(n) for n in range(rows // 10)]
    labels = ["yes", "no"] * (rows // 2 + 1)
    names = list(OPTIONS.values())

    def pope_as(compat):
        pairs = zip((pope.parse(text, compat) for text in said), labels, strict=False)
        return pope.pope(pairs, compat).f1

    def mme_as(compat):
        read = (mme.parse(text, compat) for text in said[: rows // 2 * 2])
        pairs = zip(read, labels, strict=False)
        return mme.mme(
            ("count", n // 2, pope.verdict(*pair)) for n, pair in enumerate(pairs)
        ).unparsed

    def choices_as(compat):
        letters = (choices.letter(text, OPTIONS, compat) for text in chosen)
        return tally(None if letter is None else letter == "B" for letter in letters).accuracy

    def circled():
        letters = (choices.letter(text, OPTIONS) for text in chosen[: rows // 4 * 4])
        verdicts = (None if letter is None else letter == "B" for letter in letters)
        return choices.circles((n // 4, n % 4, 4, one) for n, one in enumerate(verdicts))

    parts = {f"POPE, {c}": lambda c=c: pope_as(c) for c in ("official", "strict", "vlmevalkit")}
    parts |= {f"MME, {c}": lambda c=c: mme_as(c) for c in ("official", "strict")}
    parts |= {f"multiple choice, {c}": lambda c=c: choices_as(c) for c in ("strict", "vlmevalkit")}
    parts["multiple choice, circular, strict"] = circled
    parts["ScienceQA, official"] = lambda: [scienceqa.parse(text, names) for text in chosen]
    parts["MathVista, official"] = lambda: [
        mathvista.normalize(text, answer_type="text", choices=names) for text in chosen
    ]
    ten = ["dog"] * 6 + ["a dog", "dogs", "cat", "Dog."]
    parts["VQA accuracy"] = lambda: [vqa.vqa_accuracy(text, ten) for text in said[: rows // 10]]
    parts["CHAIR on COCO, fixed"] = lambda: [chair.of_coco(text, ["dog"], []) for text in captions]
    parts["CHAIR on COCO, reference"] = lambda: [
        chair.of_coco(text, ["dog"], [], mode="reference") for text in captions
    ]
    for name, part in parts.items():
        count = rows // 10 if name.startswith(("VQA", "CHAIR")) else rows
        spent = measured(part, rounds)
        print(f"{name}: {count:,} rows in {spent:.2f} s, {count / spent:,.0f} rows per second")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    main(asked.rows, asked.rounds)
