"""A few good descriptions out of many (MiniGPT-4, arXiv 2304.10592, section 3.2): described, mended, and looked at.

A describer (any backend that sees) says everything it can, and goes on where it said little; a repairer (any backend
of words) takes out what is wrong with the text; rules drop what is wrong still; a person has the last word
(`looksay.data.review`). Of 5,000 pictures the paper kept about 3,500.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from looksay import images
from looksay.backends.base import Backend, check_describes
from looksay.data.answers import Answers
from looksay.data.dialogues import (
    Aside,
    Dialogue,
    Request,
    Unanswered,
    Unfit,
    estimated,
    hold,
    insist,
    missing,
)
from looksay.data.reading import save_json
from looksay.data.sources import llava_instruct
from looksay.errors import InputError, UnreadablePhoto, plainly
from looksay.library.lines import Lines
from looksay.spending import Budget, Estimate, prompt_tokens
from looksay.texts import faults, ptb
from looksay.texts.language import COMMON
from looksay.types import Completion, Conversation, Example, Image, Message, Options

DESCRIBE = (
    "Describe this image in detail. Give as many details as possible. Say everything you see."
)
"""As published."""
CONTINUE = "Continue"
REPAIR = (
    "A program wrote this description of a picture. It may say things twice, break off, and hold stray characters or "
    "sentences that are no {language}. Mend that, and nothing else: say everything once, end or leave out what breaks "
    "off, leave out what is no {language} sentence, add nothing. Answer with the mended description alone; where "
    "nothing is wrong with it, with the description as it is.\n\nThe description:\n{text}"
)
AGAIN = (
    "That cannot be used: {reason}. Answer once more, with the mended description and nothing else."
)
LANGUAGES = {"en": "English"}
INSTRUCTIONS = (
    "Describe this image in detail.",
    "What does this picture show? Say everything that you see.",
    "Look at the picture, and tell what is in it.",
    "Give a detailed description of this picture.",
)
"""What the person of the training data says; which of them, the picture decides. Our words."""
ANSWERS, REPORT, DATA = "answers.jsonl", "report.json", "conversations.json"
DESCRIBING, MENDING = Options(max_tokens=400), Options(max_tokens=800)
LENGTH = 80
"""A description of fewer words is gone on with. The paper counts Vicuna's tokens; here it is words of the Penn Treebank
without punctuation, because a describer behind a server does not show its tokenizer. Most tokenizers count more, so
this asks for a little more than the paper did."""
LEAST = 40
"""A mended text of fewer words is too short. Ours: the paper names no such number."""
TYPICAL = {"describe": 150, "continue": 100, "repair": 200}
"""Tokens of an answer, for estimates."""


def repetition(text: str) -> bool:
    """It says something again and again, or runs in a loop."""
    return faults.repeated(text) or faults.is_repetitive(text)


@dataclass(frozen=True, slots=True)
class Rules:
    """What repair misses: each rule by its name, and how short and in which language a text may be."""

    least: int = LEAST
    language: str = "en"

    def broken(self, text: str) -> tuple[str, ...]:
        """The rules that a text breaks, in a fixed order; an empty one breaks that alone.

        >>> Rules(least=3).broken("A dog sits by a fence. A dog sits by a fence. It")
        ('repetition', 'fragment')
        """
        if faults.empty(text):
            return ("empty",)
        found = {
            "other language": faults.foreign(text, self.language),
            "repetition": repetition(text),
            "fragment": faults.fragmentary(text),
            "non-sentence": faults.no_sentences(text, self.language),
            "too short": faults.empty(text, least=self.least),
        }
        return tuple(name for name, breaks in found.items() if breaks)


@dataclass(frozen=True, slots=True)
class Text:
    """A picture's text before and after mending, and the rules that it breaks.

    Example: Text(Path("harbour.jpg"), "5d3c…", "Two boats. Two boats.", "Two boats.", ("too short",)).
    """

    photo: Path
    digest: str
    """SHA-256 of the picture's bytes."""
    before: str
    after: str
    broken: tuple[str, ...] = ()
    why: str = ""
    """What was wrong with the answers of a model that never gave one of use."""


@dataclass(frozen=True, slots=True)
class Final:
    """A text after the last look: what is kept of it, or why it is not."""

    text: Text
    words: str
    broken: tuple[str, ...] = ()
    person: bool = False
    """Somebody decided it."""


@dataclass(slots=True)
class Curated:
    """What came of the pictures, in their order: texts, and those that failed, with the reason."""

    texts: list[Text] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)
    """Asked again by the next run."""
    copies: int = 0
    models: dict[str, str] = field(default_factory=dict)
    """Who described and who mended: role → name and fingerprint."""
    cost_usd: float = 0.0
    """Of all answers that the file holds."""
    stopped: bool = False
    """The budget left some pictures over."""

    @property
    def ruled(self) -> list[Final]:
        """What the rules alone come to, nobody having looked (`looksay.data.review.look`)."""
        return [Final(text, text.after, text.broken) for text in self.texts]


@dataclass(slots=True)
class Pictures:
    """Pictures to curate, each once."""

    files: dict[str, Path] = field(default_factory=dict)
    """SHA-256 of the bytes → the file."""
    failures: list[tuple[str, str]] = field(default_factory=list)
    """Those that cannot be read, with the reason."""
    copies: int = 0
    """Files that are a copy of an earlier one."""


def opened(paths: Iterable[Path], seen: Callable[[], None] = lambda: None) -> Pictures:
    """Look at every file: `seen` is called after each."""
    found = Pictures()
    for path in paths:
        try:
            images.open_image(path).close()
            digest = images.digest(path)
        except UnreadablePhoto as error:
            found.failures.append((str(path), f"cannot be read: {error}"))
        except OSError as error:
            found.failures.append((str(path), f"cannot be read: {plainly(error)}"))
        else:
            found.copies += digest in found.files
            found.files.setdefault(digest, path)
        seen()
    return found


def listed(paths: Sequence[Path], out: Path | None = None) -> list[Path]:
    """The picture files among these, and in these folders and theirs, by name; not what is hidden, nor what lies in
    `out`, where pictures are written. Raises InputError where there are none, or a path is not there."""
    found: list[Path] = []
    written = out.resolve() if out else None
    for path in paths:
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in images.PHOTO_SUFFIXES)
            found += [
                p
                for p in inside
                if p.is_file()
                and not any(part.startswith(".") for part in p.relative_to(path).parts)
                and written not in p.resolve().parents
            ]
        elif path.is_file():
            found.append(path)
        else:
            raise InputError(f"There is no picture or folder {path}.")
    if not found:
        told = ", ".join(map(str, paths))
        raise InputError(f"No picture was found in {told}. Expected files such as .jpg or .png.")
    return list(dict.fromkeys(found))


def mended(answer: Completion, before: str) -> str:
    """The repairer's text. Raises Unfit where it is none, is cut off, or is another text than the one given: a third of
    its words and more are new, or it is a quarter longer."""
    text = answer.text.strip()
    if answer.finish_reason == "length":
        raise Unfit("the answer breaks off at the limit of tokens")
    given, own = ptb.tokenize(before), ptb.tokenize(text)
    if not own:
        raise Unfit("the answer is empty")
    if text.startswith(("```", "{", "[")):
        raise Unfit("the answer is code; plain text was expected")
    if text.partition("\n")[0].rstrip().endswith(":"):
        raise Unfit("the answer begins with words about itself")
    if len(own) > 1.25 * len(given) + 8:
        raise Unfit(f"the answer has {len(own)} words, and the description only {len(given)}")
    common = {word for words in COMMON.values() for word in words.split()}
    new = [word for word in own if word not in common and word not in set(given)]
    if len(new) >= max(3, len([word for word in own if word not in common]) / 3):
        raise Unfit(f"the answer says what the description does not: {', '.join(new[:5])}")
    return text


@dataclass(frozen=True, slots=True)
class Curator:
    """Curates pictures with two backends. `out` is the folder of every answer, `length` the words below which a
    description is gone on with. Raises InputError for a describer that does not describe, or a repairer that does not
    do as it is told."""

    out: Path
    describer: Backend
    repairer: Backend
    length: int = LENGTH
    rules: Rules = Rules()
    timeout_s: float = 120.0

    def __post_init__(self) -> None:
        check_describes(self.describer)
        profile = self.repairer.profile
        if not (profile.instructable and profile.converses):
            raise InputError(
                f"{self.repairer.name} follows no instructions, so it cannot mend texts. Name a model of words: "
                "--repairer ollama:MODEL; see looksay models"
            )

    def run(
        self,
        pictures: Pictures,
        *,
        budget: Budget | None = None,
        seen: Callable[[float], None] = lambda spent_usd: None,
    ) -> Curated:
        """Curate; what the folder holds is not asked again. `seen` is called after each picture, with what this run has
        spent. Raises BackendError where a backend cannot be used at all, InputError where the folder cannot."""
        budget, chosen = budget or Budget(), pictures.files
        curated = Curated(failures=list(pictures.failures), copies=pictures.copies)
        curated.models = {
            "describer": f"{self.describer.name} ({self.describer.fingerprint})",
            "repairer": f"{self.repairer.name} ({self.repairer.fingerprint})",
        }
        texts: dict[str, Text] = {}
        with Lines(self.out / ANSWERS, "an answer") as lines:
            asked = ((digest, self._one(photo, digest)) for digest, photo in chosen.items())
            for digest, found in hold(asked, Answers(lines), budget, TYPICAL):
                if isinstance(found, Unanswered):
                    curated.failures.append((str(chosen[digest]), found.reason))
                else:
                    texts[digest] = found
                seen(budget.spent_usd)
            curated.cost_usd = Answers(lines).cost_usd()
        curated.texts = [texts[digest] for digest in chosen if digest in texts]
        curated.failures.sort()
        curated.stopped = budget.reached
        return curated

    def estimate(
        self, pictures: Pictures, seen: Callable[[], None] = lambda: None
    ) -> list[Estimate]:
        """What is still to be asked of each backend, without asking: as if every description were gone on with, and no
        text mended twice. `seen` is called for each picture."""
        sees, words = self.describer.profile.image_tokens, TYPICAL["describe"]

        def dialogues() -> Iterator[Dialogue[Text]]:
            for digest, photo in pictures.files.items():
                yield self._one(photo, digest)
                seen()

        def to_come(answers: Answers) -> Iterator[tuple[str, Backend, int]]:
            for request in missing(dialogues(), answers):
                yield request.what, request.backend, prompt_tokens(request.conversation, sees)
                if request.what == "describe":
                    yield "continue", self.describer, sees + words + len(DESCRIBE) // 4
                if request.what != "repair":
                    yield "repair", self.repairer, words + len(REPAIR) // 4

        with Lines(self.out / ANSWERS, "an answer") as lines:
            return estimated(to_come(Answers(lines)), Answers(lines), TYPICAL)

    def _one(self, photo: Path, digest: str) -> Dialogue[Text]:
        """Describe, go on where that was short, mend, and judge."""
        asked = Conversation.ask(Image(photo), DESCRIBE)
        describing = replace(DESCRIBING, timeout_s=self.timeout_s)
        said = yield Request("describe", self.describer, asked, describing)
        if said.finish_reason == "refusal":
            return Text(photo, digest, said.text, "", ("refused",))
        before = said.text.strip()
        words = len(ptb.tokenize(before))
        if 0 < words < self.length and self.describer.profile.converses:
            told, more = Message("assistant", (before,)), Message("user", (CONTINUE,))
            longer = Conversation((*asked.messages, told, more))
            said = yield Request("continue", self.describer, longer, describing)
            if said.finish_reason != "refusal":
                before = f"{before} {said.text}".strip()
        if not words:
            return Text(photo, digest, before, "", ("empty",))
        language = LANGUAGES.get(self.rules.language, self.rules.language)
        mending = Request(
            "repair",
            self.repairer,
            Conversation.ask(REPAIR.format(language=language, text=before)),
            replace(MENDING, timeout_s=self.timeout_s),
        )
        after = yield from insist(mending, lambda answer: mended(answer, before), AGAIN)
        if isinstance(after, Aside):
            why = f"{after.reason}: {after.text[:200]!r}"
            return Text(photo, digest, before, "", ("not mended",), why)
        return Text(photo, digest, before, after, self.rules.broken(after))


def dropped(finals: Iterable[Final]) -> Counter[str]:
    """How many texts were dropped for which rule; each counts for the first that it breaks."""
    return Counter(final.broken[0] for final in finals if final.broken)


def write(
    curated: Curated,
    finals: Sequence[Final],
    out: Path,
    seen: Callable[[], None] = lambda: None,
) -> int:
    """Write what was dropped and why (report.json), and what was kept with its pictures as LLaVA's conversations
    (conversations.json), which trains MiniGPT-4's second stage. Returns how many; `seen` is called after each. Raises
    InputError where nothing was kept, the report being written."""
    kept = [final for final in finals if not final.broken]
    save_json(out / REPORT, _report(curated, finals))
    if not kept:
        rules = ", ".join(f"{rule} {count}" for rule, count in dropped(finals).most_common())
        failed = f"; {len(curated.failures)} failed: {curated.failures[0][1]}"
        raise InputError(
            f"None of {len(finals)} texts was kept ({rules or 'none came'}{failed if curated.failures else ''}). "
            f"{out / REPORT} says why, text by text. Short texts: a describer that says more, or a lower --least; "
            "others: another --repairer, or --review."
        )

    def examples() -> Iterator[Example]:
        for final in kept:
            digest = final.text.digest
            asked = INSTRUCTIONS[int(digest[:8], 16) % len(INSTRUCTIONS)]
            shown = Message("user", (Image(final.text.photo), asked))
            turns = Conversation((shown, Message("assistant", (final.words,))))
            yield Example(f"{final.text.photo.stem}-{digest[:8]}", turns)
            seen()

    return llava_instruct.write(examples(), out / DATA)


def _report(curated: Curated, finals: Sequence[Final]) -> dict[str, Any]:
    return {
        **curated.models,
        "described": len(curated.texts),
        "kept": sum(not final.broken for final in finals),
        "by a person": sum(final.person for final in finals),
        "dropped": dict(dropped(finals).most_common()),
        "failed": [{"image": name, "reason": reason} for name, reason in curated.failures],
        "copies": curated.copies,
        "cost_usd": round(curated.cost_usd, 6),
        "texts dropped": [
            {
                "image": final.text.photo.as_posix(),
                "rules": list(final.broken),
                "why": final.text.why,
                "before": final.text.before,
                "after": final.words,
            }
            for final in finals
            if final.broken
        ],
    }
