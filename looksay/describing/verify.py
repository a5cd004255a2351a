"""Ask about claims, each alone: one question per claim and picture, to a model that has not written the text.

Asked about a whole text, models agree with most of it; asked about one thing at a time they find what was made up
(CapMAS, arXiv 2412.15484: AUROC 81.4, against 73.5 for how many of a model's own samples agree). Who can say how likely
it finds an answer (`Ranker`) is asked for that; of all others the answer is read strictly, and what cannot be read is no
evidence.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from looksay.backends.base import Backend, Ranker
from looksay.describing.claims import Claim, Evidence, Reader
from looksay.errors import LooksayError
from looksay.texts import yes_no
from looksay.types import Conversation, Image, Options

PROMPT_TOKENS, ANSWER_TOKENS, CLAIMS = 30, 5, 8
"""Of a question about one claim, the picture aside, and the claims of a text, for estimates."""
_OPTIONS = Options(max_tokens=20)
_ORDER = "Answer with one of these words: {}."


@dataclass(frozen=True, slots=True)
class Question:
    """A claim to ask about, alone."""

    image: Image
    text: str
    answers: tuple[str, ...]
    """What can be answered, first what makes the claim true."""

    @classmethod
    def of(cls, claim: Claim, image: Image, reader: Reader) -> Question:
        return cls(image, reader.question(claim), reader.answers(claim))


@dataclass(frozen=True, slots=True)
class Asked:
    """What came of a question."""

    evidence: Evidence | None = None
    """None: the answer could not be read, or none came."""
    error: str = ""
    """Why none came."""
    answer: str = ""
    cost_usd: float = 0.0
    seconds: float = 0.0


def ask(
    backend: Backend, questions: Iterable[Question], timeout_s: float = 120.0
) -> Iterator[tuple[int, Asked]]:
    """(number of the question, what came of it) as the answers come. Questions are drawn no further ahead than the
    backend works at once; no two are asked in one conversation. Raises BackendError where it answers nobody."""
    if isinstance(backend, Ranker):
        for number, question in enumerate(questions):
            yield number, _ranked(backend, backend.name, question)
        return
    asked: dict[int, Question] = {}

    def feed() -> Iterator[Conversation]:
        for number, question in enumerate(questions):
            asked[number] = question
            order = _ORDER.format(", ".join(question.answers))
            yield Conversation.ask(question.image, f"{question.text} {order}")

    options = Options(max_tokens=_OPTIONS.max_tokens, timeout_s=timeout_s)
    for said in backend.complete(feed(), options):
        question = asked.pop(said.index)
        evidence = None
        if not said.error:
            found = read(said.text, question.answers)
            if found is not None:
                evidence = Evidence(backend.name, "asked", float(found == 0), said.text.strip())
        yield (
            said.index,
            Asked(evidence, said.error or "", said.text, said.cost_usd, said.seconds),
        )


def guess_usd(verifier: Backend | None) -> float:
    """About what asking about one text costs."""
    if verifier is None or verifier.profile.price is None:
        return 0.0
    tokens = verifier.profile.image_tokens + PROMPT_TOKENS
    return CLAIMS * verifier.profile.price.cost(tokens, ANSWER_TOKENS)


def read(answer: str, answers: Sequence[str]) -> int | None:
    """Which of the answers it is; None where it says none of them in so many words, or several.

    >>> read("Yes, there is.", ("yes", "no")), read("There are three.", ("two", "three")), read("Hm.", ("yes", "no"))
    (0, 1, None)
    """
    if set(answers) == {"yes", "no"}:
        said = yes_no.strict(answer)
        return None if said is None else list(answers).index(said)
    words = f" {_folded(answer)} "
    found = [n for n, one in enumerate(answers) if f" {_folded(one)} " in words]
    return found[0] if len(found) == 1 else None


def _folded(text: str) -> str:
    return " ".join("".join(c if c.isalnum() else " " for c in text.casefold()).split())


def _ranked(ranker: Ranker, name: str, question: Question) -> Asked:
    """How likely it finds the answer that makes the claim true, beside the likeliest other."""
    try:
        found = ranker.rank(Conversation.ask(question.image, question.text), question.answers)
    except LooksayError as error:  # one question's fault stops no run
        return Asked(error=str(error))
    if not all(map(math.isfinite, found)):
        return Asked(error=f"the likelihoods of its answers are no numbers: {found}")
    best = max(range(1, len(found)), key=found.__getitem__)
    support = 1 / (1 + math.exp(min(found[best] - found[0], 700.0)))
    said = question.answers[0 if found[0] >= found[best] else best]
    return Asked(Evidence(name, "asked", support, said), answer=said)
