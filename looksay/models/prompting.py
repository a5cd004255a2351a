"""From conversations to ids and labels: pieces are tokenised one by one and their labels laid beside them.

A label mask that is found by tokenising a second time breaks with the next tokenizer, silently (LLaVA
issues 661, 779, 1166, 1706: all labels ignored, loss 0). Here the text is cut at the answers before any
of it becomes ids, so an answer's ids are known because they were made alone.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from looksay.errors import InputError
from looksay.models import templates
from looksay.models.batching import IGNORE, Sequence
from looksay.types import Conversation, Image, Message

Kind = Literal["template", "plain", "answer", "end"]
Piece = tuple[Kind, str]
"""template: control and image tokens count; plain: the user's words, in which they do not; answer and
end are learned."""


@dataclass(frozen=True, slots=True)
class Stop:
    """What ends an answer: any of the ids, or any of the strings in the decoded text."""

    ids: tuple[int, ...]
    strings: tuple[str, ...] = ()


class Prompter:
    """Turns conversations into ids, with labels on the assistant's words and their end alone.

    `tokenizer` is any of transformers'; it must hold `image_token` as a token of its own
    (`add_image_token`). An image becomes `image_tokens` placeholder ids. An answer with words that the
    tokenizer does not know is an error.
    """

    def __init__(
        self,
        tokenizer: Any,
        image_tokens: int,
        image_token: str = "<image>",
    ) -> None:
        self.tokenizer = tokenizer
        self.image_tokens = image_tokens
        self.image_token = image_token
        self.image_id = _own_id(tokenizer, image_token)
        special = {t.content for t in tokenizer.added_tokens_decoder.values() if t.special}
        special |= {*tokenizer.all_special_tokens, image_token}
        names = sorted(
            (s for s in special if len(s) > 1 and not s.isspace()), key=len, reverse=True
        )
        self._control = re.compile("|".join(map(re.escape, names)))
        self._known: dict[tuple[str, bool], tuple[int, ...]] = {}
        self._in_parts: bool | None = None
        # SentencePiece without "first word only" puts a space before whatever follows a control token;
        # the space that stands there already must then be dropped, or there are two
        self._adds_space = False
        once, twice = self._ids("x", start=False), self._ids("x x", start=False)
        self._adds_space = twice == once + once
        self._known.clear()

    def encode(
        self,
        conversation: Conversation,
        pixels: Callable[[Image], Tensor],
        template: str | None = None,
    ) -> Sequence:
        """Ids, labels (not shifted), pixels and content keys of one example; `targets` is left empty.

        `pixels` gives the CHW tensor of an image. `template`: None for the tokenizer's own chat
        template, or a published one ("plain", "v1", ...). Raises InputError where there is no answer,
        and where a template changes an answer's text.
        """
        if not any(message.role == "assistant" for message in conversation.messages):
            raise InputError("The conversation has no assistant's turn: there is nothing to learn.")
        ids: list[int] = []
        labels: list[int] = []
        for kind, text in self._pieces(conversation, template):
            new = self._piece_ids(kind, text, start=not ids)
            ids += new
            labels += new if kind in ("answer", "end") else [IGNORE] * len(new)
        if template is not None and self._begins():
            ids, labels = [self.tokenizer.bos_token_id, *ids], [IGNORE, *labels]
        images = conversation.images
        return Sequence(
            ids, labels, tuple(pixels(i) for i in images), tuple(image_key(i) for i in images)
        )

    def prompt(self, conversation: Conversation, template: str | None = None) -> list[int]:
        """Ids up to the place where the assistant begins to speak. The last turn must be the user's."""
        messages = conversation.messages
        if not messages or messages[-1].role != "user":
            found = messages[-1].role if messages else "no turn at all"
            raise InputError(f"The last turn of a prompt is the user's; found: {found}.")
        open_end = Conversation((*messages, Message("assistant", ("x",))))
        pieces = self._pieces(open_end, template, check=False)
        last = max(i for i, (kind, _) in enumerate(pieces) if kind == "answer")
        ids = [self.tokenizer.bos_token_id] if template is not None and self._begins() else []
        start = True
        for kind, text in pieces[:last]:
            new = self._piece_ids(kind, text, start=start)
            ids, start = ids + new, start and not new
        return ids

    def stop(self, template: str | None = None) -> Stop:
        """What ends an answer under that template."""
        probe = Conversation((Message("user", ("x",)), Message("assistant", ("x",))))
        pieces = self._pieces(probe, template, check=False)
        learned = {kind: text for kind, text in pieces if kind in ("answer", "end")}
        ends = self._ids(learned.get("end", ""), start=False)
        eos = self.tokenizer.eos_token_id
        ids = dict.fromkeys([*ends[-1:], *([] if eos is None else [eos])])
        tail = learned["answer"].strip(" ").removeprefix("x") if template is not None else ""
        return Stop(tuple(ids), (tail,) if tail else ())

    def text(self, ids: list[int], template: str | None = None) -> str:
        """The answer in generated ids: without what ends it, and without space around it."""
        stop = self.stop(template)
        for place, token in enumerate(ids):
            if token in stop.ids:
                ids = ids[:place]
                break
        answer = str(self.tokenizer.decode(ids, skip_special_tokens=True)).lstrip()
        for string in stop.strings:
            answer = answer.partition(string)[0]
        return answer.strip()

    def _pieces(
        self, conversation: Conversation, template: str | None, check: bool = True
    ) -> list[Piece]:
        cut: dict[str, Piece] = {}
        mark = _unused_mark(conversation)
        asked = template is None or not templates.find(template).plain
        turns: list[tuple[Message, list[str | Image]]] = []
        for number, message in enumerate(conversation.messages):
            learned = message.role == "assistant"
            if message.images and message.role != "user":
                raise InputError(
                    f"Turn {number + 1} is the {message.role}'s and holds an image; only the user's may."
                )
            parts: list[str | Image] = [message.text] if learned else list(message.parts)
            for place, part in enumerate(parts):
                if isinstance(part, str) and (learned or (asked and self._control.search(part))):
                    name = f"{mark}{len(cut)}{mark}"
                    cut[name] = ("answer" if learned else "plain", part.strip())
                    parts[place] = name
                    if learned and not part.strip():
                        raise InputError(f"Turn {number + 1} is the assistant's, and empty.")
            turns.append((message, parts))
        written = self._render(turns, template)
        if check and template is None:
            said = [
                [cut[p][1] if isinstance(p, str) and p in cut else p for p in parts]
                for _, parts in turns
            ]
            whole = self._render([(m, p) for (m, _), p in zip(turns, said, strict=True)], None)
            mended = re.sub(f"{mark}\\d+{mark}", lambda found: cut[found[0]][1], written)
            if whole != mended:
                raise InputError(_changed(whole, mended))
        return self._split(written, mark, cut, template)

    def _split(
        self, written: str, mark: str, cut: dict[str, Piece], template: str | None
    ) -> list[Piece]:
        found = re.split(f"({mark}\\d+{mark})", written)
        if sorted(found[1::2]) != sorted(cut):
            raise InputError(
                f"The chat template wrote {len(found[1::2])} of {len(cut)} texts: it drops or doubles "
                "turns. Use a published template instead (plain, v1, ...)."
            )
        pieces: list[Piece] = [("template", found[0])]
        for name, after in zip(found[1::2], found[2::2], strict=True):
            kind, text = cut[name]
            if kind == "answer":
                before = pieces[-1][1]
                bare = before.rstrip(" ")  # a space belongs to the word that follows it
                pieces[-1] = (pieces[-1][0], bare)
                tail, end, after = self._end(after, template)
                pieces += [("answer", before[len(bare) :] + text + tail), ("end", end)]
            else:
                pieces.append((kind, text))
            pieces.append(("template", after))
        return [(kind, text) for kind, text in pieces if text]

    def _end(self, after: str, template: str | None) -> tuple[str, str, str]:
        """What follows an answer, as: text that is learned with it, end token, the rest."""
        eos = self.tokenizer.eos_token or ""
        if template is not None:
            end = templates.find(template).end.replace(templates.EOS, eos)
            rest = after[len(end) :]
            space, token = end[: len(end) - len(end.lstrip(" "))], end.lstrip(" ")
            if self._control.fullmatch(token):
                return space, token, rest
            if self._ids(f"x{end}", start=False) == self._ids("x", start=False):
                return "", eos, rest  # a tokenizer without line breaks: its own end stands for them
            return end, "", rest
        space = re.match(r"\s*", after)[0]  # type: ignore[index]
        token_found = self._control.match(after, len(space))
        if token_found is None or token_found[0] == self.image_token:
            raise InputError(
                "The chat template ends an answer with no control token, so a model could not learn to "
                f"stop; after the answer stands {after[:40]!r}. Use a published template (plain, v1, ...)."
            )
        return space, token_found[0], after[token_found.end() :]

    def _render(self, turns: list[tuple[Message, list[str | Image]]], template: str | None) -> str:
        if template is not None:
            flat = [(message.role, self._joined(parts)) for message, parts in turns]
            eos = self.tokenizer.eos_token or ""
            return templates.render(template, flat, eos, self.image_token)
        if self._in_parts is None:
            self._in_parts = self._takes_parts()
        return self._chat(
            [
                {
                    "role": message.role,
                    "content": _as_items(parts) if self._in_parts else self._joined(parts),
                }
                for message, parts in turns
            ]
        )

    def _joined(self, parts: list[str | Image]) -> str:
        return "\n".join(part if isinstance(part, str) else self.image_token for part in parts)

    def _chat(self, messages: list[dict[str, Any]]) -> str:
        if not self.tokenizer.chat_template:
            raise InputError(
                "The tokenizer has no chat template. Use a published template: "
                f"{', '.join(templates.TEMPLATES)}."
            )
        try:
            return str(self.tokenizer.apply_chat_template(messages, tokenize=False))
        except (
            Exception
        ) as error:  # templates raise their own, and trip over what they do not expect
            roles = ", ".join(message["role"] for message in messages)
            raise InputError(
                f"The tokenizer's chat template does not take turns of {roles}: {error}"
            ) from error

    def _takes_parts(self) -> bool:
        """Whether the chat template writes images itself; otherwise contents are plain text."""
        probe: list[dict[str, Any]] = [
            {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "xqx"}]},
            {"role": "assistant", "content": [{"type": "text", "text": "xax"}]},
        ]
        try:
            written = self._chat(probe)
        except InputError:
            return False
        return all(written.count(s) == 1 for s in (self.image_token, "xqx", "xax"))

    def _piece_ids(self, kind: Kind, text: str, start: bool) -> list[int]:
        if kind in ("template", "end"):
            ids: list[int] = []
            for number, words in enumerate(text.split(self.image_token)):
                ids += [self.image_id] * (self.image_tokens if number else 0)
                ids += self._ids(words, start=start and not ids)
            return ids
        ids = []
        for words in self._disarmed(text):
            ids += self._ids(words, start=start and not ids)
        if kind == "answer":
            self._refuse_unknown(ids, text)
        return ids

    def _ids(self, text: str, start: bool) -> tuple[int, ...]:
        """Ids of a piece at the start of the text, or (after a control token) further on."""
        if not text:
            return ()
        known = self._known.get((text, start))
        if known is None:
            if start:
                known = tuple(self.tokenizer.encode(text, add_special_tokens=False))
            else:
                spoken = text[1:] if self._adds_space and text.startswith(" ") else text
                after = self.tokenizer.encode(self.image_token + spoken, add_special_tokens=False)
                if after[0] != self.image_id:
                    raise InputError(
                        f"The tokenizer takes {self.image_token!r} for ordinary text. Add it with "
                        "looksay.models.prompting.add_image_token."
                    )
                known = tuple(after[1:])
            if len(self._known) < 10_000:
                self._known[text, start] = known
        return known

    def _disarmed(self, text: str) -> Iterator[str]:
        """Pieces in which no control token is named: a user who writes </s> means these four letters."""
        rest = text
        while found := self._control.search(rest):
            yield rest[: found.start() + 1]
            rest = rest[found.start() + 1 :]
        yield rest

    def _refuse_unknown(self, ids: list[int], text: str) -> None:
        unknown = self.tokenizer.unk_token_id
        if unknown is None or unknown not in ids:
            return
        words = dict.fromkeys(w for w in text.split() if unknown in self._ids(w, start=False))
        raise InputError(
            f"The tokenizer does not know: {', '.join(list(words)[:8])} (in the answer "
            f"{text.strip()[:60]!r}). Train with a tokenizer that covers the data."
        )

    def _begins(self) -> bool:
        """Whether the tokenizer itself puts its first token before a text (LLaVA relies on it)."""
        bos = self.tokenizer.bos_token_id
        return bos is not None and list(self.tokenizer.encode("x"))[:1] == [bos]


def add_image_token(tokenizer: Any, image_token: str = "<image>") -> int:
    """The id of `image_token`, added as a control token where the tokenizer has none.

    A new id may lie beyond the model's embedding: placeholders are overwritten by image embeddings, so
    a model need not grow, but must not look the id up.
    """
    tokenizer.add_tokens(_control_token(image_token), special_tokens=True)
    return _own_id(tokenizer, image_token)


@lru_cache(maxsize=65_536)
def _file_key(path: Path, size: int, changed_ns: int) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def image_key(image: Image) -> str:
    """A name by content: SHA-256 of the file's bytes, or of size and pixels of a decoded picture."""
    source = image.source
    if isinstance(source, Path):
        stat = source.stat()
        return _file_key(source, stat.st_size, stat.st_mtime_ns)
    if isinstance(source, bytes):
        return hashlib.sha256(source).hexdigest()
    head = f"{source.mode} {source.size} ".encode()
    return hashlib.sha256(head + source.tobytes()).hexdigest()


def _control_token(image_token: str) -> Any:
    from transformers import AddedToken

    return AddedToken(image_token, special=True, normalized=False)


def _own_id(tokenizer: Any, image_token: str) -> int:
    found = tokenizer.get_vocab().get(image_token)
    if found is None:
        raise InputError(
            f"The tokenizer has no token {image_token!r} to hold an image's place. Add it: "
            f"looksay.models.prompting.add_image_token(tokenizer, {image_token!r})"
        )
    return int(found)


def _as_items(parts: list[str | Image]) -> list[dict[str, str]]:
    return [
        {"type": "text", "text": part} if isinstance(part, str) else {"type": "image"}
        for part in parts
    ]


def _unused_mark(conversation: Conversation) -> str:
    said = "".join(message.text for message in conversation.messages)
    number = 0
    while (mark := f"looksaycut{number}q") in said:
        number += 1
    return mark


def _changed(whole: str, expected: str) -> str:
    at = next(
        (i for i, (a, b) in enumerate(zip(whole, expected, strict=False)) if a != b),
        min(len(whole), len(expected)),
    )
    return (
        "The tokenizer's chat template changes what it is given, so the answer could not be told from "
        f"the rest: expected {expected[max(0, at - 20) : at + 40]!r}, it wrote "
        f"{whole[max(0, at - 20) : at + 40]!r}. Use a published template (plain, v1, ...)."
    )
