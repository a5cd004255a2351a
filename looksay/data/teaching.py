"""What a teacher without eyes is told, with examples, and what of its answers can be used.

The three kinds are LLaVA's (arXiv 2304.08485, section 3): a conversation, a description in detail, and a question whose
answer takes thought. All words are ours.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from looksay.data.dialogues import Unfit
from looksay.texts import faults, ptb
from looksay.types import Completion, Conversation, Message

Kind = Literal["conversation", "detail", "reasoning"]
Turns = tuple[tuple[str, str], ...]
"""Questions with their answers."""
SHARES: Mapping[Kind, int] = {"conversation": 58, "detail": 23, "reasoning": 77}
"""Thousands of each in LLaVA's data."""

TOLD = (
    "You are told about a picture that you do not see: a few sentences about it, then a line for each object with its "
    "name and the left, top, right and bottom of its box, in shares of the picture's width and height. Write as "
    "somebody who sees the picture. Never speak of sentences, lists, boxes or numbers that you were told. Say only what "
    "follows from them; name no object that they do not name; ask nothing whose answer does not follow from them.\n\n"
)
TASKS: Mapping[Kind, str] = {
    "conversation": TOLD
    + "Write a conversation of somebody who asks about the picture and somebody who answers: "
    "three to six questions, about what is there, how many, where, how things lie to each other, and what they do. "
    'Answer with JSON and nothing else: {"turns": [{"question": "…", "answer": "…"}, …]}',
    "detail": TOLD
    + "Describe the picture in detail: what is there, how many of it, where it lies, and what goes on. "
    'Answer with JSON and nothing else: {"description": "…"}',
    "reasoning": TOLD
    + "Ask one question about the picture whose answer takes thought: why, what for, what may come "
    "next, what to look out for. Answer it step by step, from what is there. "
    'Answer with JSON and nothing else: {"question": "…", "answer": "…"}',
}
AGAIN = "That cannot be used: {reason}. Answer once more, in the form that was asked for and nothing else."
DETAIL = (
    "Describe this picture in detail.",
    "What is there to see in this image? Leave nothing out.",
    "Tell me everything about this picture.",
    "Explain at length what this image shows.",
)
"""What the person of the training data says before a description."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture that was made up, as it is told, and an answer of each kind to it."""

    told: str
    answers: Mapping[Kind, Any]


EXAMPLES = (
    Shown(
        "A woman mends a bicycle in front of her shop.\n"
        "A bicycle stands upside down on the pavement while a woman works on it.\n"
        "A cat sleeps on a bench beside a woman with a bicycle.\n\n"
        "person: [0.38, 0.20, 0.57, 0.88]\n"
        "bicycle: [0.50, 0.45, 0.86, 0.93]\n"
        "bicycle: [0.88, 0.40, 1.00, 0.80]\n"
        "bench: [0.02, 0.55, 0.33, 0.85]\n"
        "cat: [0.10, 0.50, 0.22, 0.60]",
        {
            "conversation": {
                "turns": [
                    {
                        "question": "What is the woman doing?",
                        "answer": "She is mending a bicycle, which stands upside down on the pavement.",
                    },
                    {
                        "question": "How many bicycles are there?",
                        "answer": "There are two: the one that she works on, and another at the right edge.",
                    },
                    {
                        "question": "Where is the cat?",
                        "answer": "The cat sleeps on a bench, to the left of the woman.",
                    },
                ]
            },
            "detail": {
                "description": "A woman mends a bicycle on the pavement in front of her shop. The bicycle is turned "
                "upside down, just to the right of her, and a second bicycle is partly to be seen at the right edge. "
                "On the left stands a bench on which a cat has gone to sleep, and nothing that the woman does seems to "
                "disturb it."
            },
            "reasoning": {
                "question": "Why may the woman have turned the bicycle upside down?",
                "answer": "A bicycle that stands on its saddle and handlebars keeps still, and both its wheels turn "
                "freely. So she can spin them, look at the chain, or take a wheel off, and needs nobody to hold it. As "
                "she works in front of a shop with another bicycle close by, mending them is probably her trade.",
            },
        },
    ),
    Shown(
        "Two children roll out dough at a kitchen table.\n"
        "A boy and a girl bake together.\n"
        "Dough and a bowl lie on a table in front of two children.\n\n"
        "person: [0.15, 0.12, 0.44, 0.75]\n"
        "person: [0.55, 0.10, 0.85, 0.74]\n"
        "dining table: [0.00, 0.60, 1.00, 1.00]\n"
        "bowl: [0.45, 0.58, 0.58, 0.70]\n"
        "oven: [0.84, 0.30, 1.00, 0.62]",
        {
            "conversation": {
                "turns": [
                    {
                        "question": "Who is in the picture?",
                        "answer": "Two children, a boy and a girl, stand side by side.",
                    },
                    {
                        "question": "What are they doing?",
                        "answer": "They roll out dough on the table in front of them.",
                    },
                    {
                        "question": "What stands between them?",
                        "answer": "A bowl stands on the table between the two.",
                    },
                    {
                        "question": "Is there an oven in the room?",
                        "answer": "Yes, there is one behind them, at the right edge.",
                    },
                ]
            },
            "detail": {
                "description": "A boy and a girl stand behind a wide kitchen table and roll out dough together. A bowl "
                "stands between them, nearly in the middle of the picture. The table fills the whole foreground, and "
                "behind the children, on the right, there is an oven."
            },
            "reasoning": {
                "question": "What will the children probably need the oven for?",
                "answer": "They have mixed something, as the bowl on the table tells, and are rolling out the dough "
                "now. Rolled dough is usually cut into shapes or laid out, and then baked. The oven is close behind "
                "them, so the next step will be to bake what they make.",
            },
        },
    ),
)


def asked(kind: Kind, told: str) -> Conversation:
    """The task, the examples as turns of the same conversation, and what is told of the picture."""
    messages = [Message("system", (TASKS[kind],))]
    for one in EXAMPLES:
        answer = json.dumps(one.answers[kind], ensure_ascii=False)
        messages += [Message("user", (one.told,)), Message("assistant", (answer,))]
    return Conversation((*messages, Message("user", (told,))))


_FENCE = re.compile(r"^```(?:json)?\s*\n(.*)\n```$", re.S)
_LEAK = re.compile(
    r"\b(?:captions?|bounding|coordinates?|(?:sentences|lists?|boxes|text|information|description) (?:given|provided)|"
    r"(?:given|provided) (?:sentences|lists?|boxes|text|information|description))\b",
    re.IGNORECASE,
)
"""Words of somebody who does not see the picture."""
MOST_TURNS = 10
_LEAST_WORDS = 12
"""Of a description."""


def read(kind: Kind, said: Completion, question: str) -> Turns:
    """The turns of a teacher's answer; a description answers `question`. A code fence around it is taken off; every
    other departure from the form raises Unfit, which says what was found."""
    if said.finish_reason == "length":
        raise Unfit("the answer breaks off at the limit of tokens; be shorter")
    found = json_object(said.text.strip())
    if kind == "conversation":
        rows = _only(found, "turns")["turns"]
        if not isinstance(rows, list) or not 2 <= len(rows) <= MOST_TURNS:
            many = len(rows) if isinstance(rows, list) else "no list"
            raise Unfit(f"'turns' should be a list of 2 to {MOST_TURNS} questions; found {many}")
        turns = tuple(_pair(row) for row in rows)
    elif kind == "detail":
        turns = ((question, _text(_only(found, "description"), "description")),)
        if faults.empty(turns[0][1], least=_LEAST_WORDS):
            raise Unfit(
                f"the description has fewer than {_LEAST_WORDS} words; describe it in detail"
            )
    else:
        turns = (_pair(found),)
    words = [tuple(ptb.tokenize(one)) for one, _ in turns]
    if len(set(words)) < len(words):
        raise Unfit("the same question comes twice")
    for text in (text for pair in turns for text in pair):
        if leak := _LEAK.search(text):
            raise Unfit(f"{leak[0]!r} is no word of somebody who sees the picture")
        if faults.repeated(text):
            raise Unfit("a text says the same thing again and again")
    return turns


def json_object(text: str) -> dict[str, Any]:
    if fenced := _FENCE.match(text):
        text = fenced[1].strip()
    if not text:
        raise Unfit("the answer is empty")
    if text[0] != "{":
        raise Unfit("there is text before the JSON" if "{" in text else "the answer is no JSON")
    try:
        found, end = json.JSONDecoder(object_pairs_hook=_once).raw_decode(text)
    except json.JSONDecodeError as error:
        raise Unfit(f"the JSON is broken, or breaks off ({error.msg})") from None
    rest = text[end:].strip()
    if rest:
        raise Unfit("there are two answers" if rest[0] == "{" else "there is text after the JSON")
    assert isinstance(found, dict)
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise Unfit("a key comes twice in one object")
    return dict(pairs)


def _only(found: Any, *keys: str) -> dict[str, Any]:
    if not isinstance(found, dict) or set(found) != set(keys):
        has = ", ".join(map(str, found)) if isinstance(found, dict) else type(found).__name__
        raise Unfit(f"expected an object with {' and '.join(keys)}; found {has or 'nothing'}")
    return found


def _pair(found: Any) -> tuple[str, str]:
    row = _only(found, "question", "answer")
    question, answer = _text(row, "question"), _text(row, "answer")
    if not question.endswith(("?", "？")):
        raise Unfit(f"a question ends with a question mark; found {question[-20:]!r}")
    return question, answer


def _text(row: dict[str, Any], key: str) -> str:
    text = row[key]
    if not isinstance(text, str) or not text.strip():
        raise Unfit(f"{key!r} should be text; found {str(text)[:20]!r}")
    return text.strip()
