"""ScienceQA with a text model beside the judged one: where the two differ, the text model decides.

LLaVA's best figure on ScienceQA is of this kind. A text model, which sees no picture, answers all questions
first; those answers are text_answers.json, in the form of ScienceQA's result files: {"outputs": {"4": "… The
answer is B."}}. Then it is shown both answers wherever they differ, and gives its own last one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from looksay.data.reading import load_json
from looksay.errors import InputError
from looksay.evaluation.benchmark import Answer, Card, Compat, Item, UnreadableVerdicts
from looksay.evaluation.benchmarks import _scienceqa
from looksay.evaluation.benchmarks._judging import verdicts_of
from looksay.evaluation.benchmarks.scienceqa import place
from looksay.evaluation.measures import Measure, of_verdicts
from looksay.evaluation.metrics import scienceqa
from looksay.evaluation.metrics.verdicts import Verdict
from looksay.types import Conversation

CARD = Card(
    title="ScienceQA, a text model deciding",
    measures="ScienceQA where a text model settles what it answers differently.",
    needs={**_scienceqa.NEEDS, "text_answers.json": 'its answers: {"outputs": {"4": "…"}}'},
    where="https://github.com/lupantech/ScienceQA",
    licence="CC BY-NC-SA 4.0",
    loader="haotian-liu/LLaVA: llava/eval/eval_science_qa_gpt4.py, eval_science_qa_gpt4_requery.py",
    paper="Liu et al., Visual Instruction Tuning, NeurIPS 2023, section 5.2",
    variants=("test", "test-image"),
    compat=("strict", "official"),
)
"""Questions are worded as LLaVA was trained on them (options in a line, no letter asked for), so that there are
reasons to show to the text model. Name as judge the model that text_answers.json is of."""

_TOKENS = 1024
"""LLaVA's limit for reasons and answer (model_vqa_science.py)."""


def read(folder: Path, variant: str = "test") -> list[Item]:
    """The questions of the test split. `truth`: choices, answer (its place), slices, text (said without the
    picture)."""
    path = folder / "text_answers.json"
    content = load_json(path)
    said = content.get("outputs") if isinstance(content, dict) else None
    if not isinstance(said, dict):
        raise InputError(f"{path}: expected the text model's answers by problem under 'outputs'.")
    found = []
    for problem in _scienceqa.problems(folder):
        if variant == "test-image" and not problem.image:
            continue
        text = said.get(problem.id)
        if not isinstance(text, str):
            raise InputError(f"{path}: there is no answer to problem {problem.id!r}.")
        found.append(
            Item(
                problem.id,
                problem.conversation,
                {**problem.truth, "text": text},
                image=problem.id if problem.image else "",
                max_tokens=_TOKENS,
            )
        )
    return found


def judge(answers: Sequence[Answer]) -> list[Item]:
    """What the text model is asked: every question that both have answered, and differently, as either set of
    rules reads them; so one set of decisions serves both."""
    return [
        Item(a.item.id, Conversation.ask(_question(a)), max_tokens=_TOKENS)
        for a in _differing(answers)
    ]


def _differing(answers: Sequence[Answer]) -> list[Answer]:
    return [a for a in answers if any(_read(a, compat).differ for compat in CARD.compat)]


def _question(answer: Answer) -> str:
    """Our words; LLaVA's wording of this request is not published with its scripts."""
    said, text = answer.text.strip(), str(answer.item.truth["text"]).strip()
    return (
        f"{answer.item.conversation.messages[0].text}\n\n"
        "Two people have answered this question differently. The first may have seen a picture that "
        "belongs to it; the second has not.\n\n"
        f"First answer: {said}\n\nSecond answer: {text}\n\n"
        "Weigh both, then give your own final answer. End with one line of this form, with the letter "
        'of the option that you choose: "The answer is A."'
    )


@dataclass(frozen=True, slots=True)
class _Read:
    """Places of the options that the two chose; None is a failed parse."""

    own: int | None
    text: int | None

    @property
    def differ(self) -> bool:
        return self.own is not None and self.text is not None and self.own != self.text


def _read(answer: Answer, compat: Compat) -> _Read:
    options = answer.item.truth["choices"]
    return _Read(
        place(answer.text, options, compat), place(answer.item.truth["text"], options, compat)
    )


def score(
    answers: Sequence[Answer], compat: Compat = "strict", verdicts: Sequence[Answer] = ()
) -> list[Measure]:
    """Accuracy with the text model's decisions, by slice; then of the text model where it has an answer and
    the other's elsewhere (LLaVA's "complement"), of each alone, and of whoever is right of the two.

    Where one of the two cannot be read by these rules, the other's answer stands. A decision that cannot be read raises
    UnreadableVerdicts; official takes the judged model's own answer instead, as LLaVA's script does.
    """
    decided = verdicts_of(_differing(answers), verdicts, str)
    last: dict[str, Verdict] = {}
    complement: dict[str, Verdict] = {}
    own: dict[str, Verdict] = {}
    text: dict[str, Verdict] = {}
    for a in answers:
        said, right, one = _read(a, compat), a.item.truth["answer"], a.item.id
        own[one], text[one] = (scienceqa.verdict(n, right) for n in (said.own, said.text))
        either = said.text if said.text is not None else said.own
        complement[one] = scienceqa.verdict(either, right)
        final = said.own if said.own is not None else said.text
        if said.differ:
            final = _decision(a, decided[one], said.own, compat)
        last[one] = scienceqa.verdict(final, right)
    upper = {one: bool(own[one]) or bool(text[one]) for one in own}
    first, unreadable = of_verdicts(last)
    others: Mapping[str, Mapping[str, Verdict]] = {
        "text model, else the judged": complement,
        "the judged alone": own,
        "text model alone": text,
        "either is right": upper,
    }
    return [
        first,
        *_scienceqa.by_slice(answers, last),
        *(of_verdicts(found, name)[0] for name, found in others.items()),
        unreadable,
    ]


def _decision(answer: Answer, reply: str, own: int | None, compat: Compat) -> int | None:
    options = answer.item.truth["choices"]
    found = place(reply, options, compat)
    if found is None and compat != "official":
        wanted = f'"The answer is …" and the letter of one of {len(options)} options'
        raise UnreadableVerdicts(
            {answer.item.id: f"the judge ended with {reply[-80:]!r}; expected {wanted}."}
        )
    return own if found is None else found
