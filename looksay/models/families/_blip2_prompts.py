"""The published prompts of BLIP-2: pictures, then "Question: … Answer:" as the language model's tokenizer begins
and ends a text (transformers' Blip2Processor puts the queries before the first token)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from looksay.errors import InputError
from looksay.models.batching import IGNORE, Sequence
from looksay.models.prompting import Prompter, Stop, image_key
from looksay.types import Conversation, Image, Message

TEMPLATE = "blip2"
"""Name of the published prompts; any other template is the `Prompter`'s."""


class Blip2Prompter(Prompter):
    """A `Prompter` that knows the template "blip2" besides.

    With an encoder (FLAN-T5) a question ends with "Short answer:", and what is read and what is said each end
    with the tokenizer's own end; without (OPT) an answer ends with a new line (arXiv 2301.12597, section 4.1).
    A user's turn without words asks for a caption.
    """

    def __init__(
        self, tokenizer: Any, image_tokens: int, image_token: str, *, encoder: bool
    ) -> None:
        super().__init__(tokenizer, image_tokens, image_token)
        self.encoder = encoder
        bare, whole = self._bare("x"), list(tokenizer("x")["input_ids"])
        at = next(i for i in range(len(whole)) if whole[i : i + len(bare)] == bare)
        self._opening, self._closing = whole[:at], whole[at + len(bare) :]
        line = [] if encoder else self._bare("\n")
        known = line and tokenizer.unk_token_id not in line
        self._ending = line if known else [tokenizer.eos_token_id]

    def encode(
        self,
        conversation: Conversation,
        pixels: Callable[[Image], Tensor],
        template: str | None = None,
    ) -> Sequence:
        if template != TEMPLATE:
            return super().encode(conversation, pixels, template)
        *before, last = conversation.messages or (None,)
        if last is None or last.role != "assistant" or not last.text.strip():
            raise InputError(
                "The conversation does not end with an answer: there is nothing to learn."
            )
        ids, asked = self._read(before)
        said = self._bare(f" {last.text.strip()}" if asked else last.text.strip())
        self._refuse_unknown(said, last.text)
        said += self._ending
        images = conversation.images
        return Sequence(
            ids + said,
            [IGNORE] * len(ids) + said,
            tuple(pixels(i) for i in images),
            tuple(image_key(i) for i in images),
        )

    def prompt(self, conversation: Conversation, template: str | None = None) -> list[int]:
        if template != TEMPLATE:
            return super().prompt(conversation, template)
        return self._read(conversation.messages)[0]

    def stop(self, template: str | None = None) -> Stop:
        if template != TEMPLATE:
            return super().stop(template)
        return Stop(tuple(dict.fromkeys([self._ending[-1], self.tokenizer.eos_token_id])))

    def split(self, found: Sequence, share: float, template: str | None) -> Sequence:
        """For prefix language modelling (section 3.2): the beginning of the last answer, `share` (0 to 1) of it, is
        read with the rest, and only what follows is learned. One word at least is left."""
        ids, labels = list(found.ids), list(found.labels)
        end = max((i + 1 for i, label in enumerate(labels) if label != IGNORE), default=0)
        at = end
        while at and labels[at - 1] != IGNORE:
            at -= 1
        count = int(share * max(0, end - at - 1))
        labels[at : at + count] = [IGNORE] * count
        closing = len(self._closing) if template == TEMPLATE else 0
        start = at - closing  # what closes the text that is read comes after its new end
        ids[start : at + count] = ids[at : at + count] + ids[start:at]
        return Sequence(ids, labels, found.pixels, found.keys, found.targets)

    def _read(self, messages: Any) -> tuple[list[int], bool]:
        """Ids up to the answer, and whether anything was asked in words."""
        turns: list[Message] = [m for m in messages if m.role != "system"]
        if not turns or turns[-1].role != "user":
            found = turns[-1].role if turns else "no turn at all"
            raise InputError(f"The last turn of a prompt is the user's; found: {found}.")
        form = "Question: {} Short answer:" if self.encoder else "Question: {} Answer:"
        written = ""
        for turn in turns:
            text = turn.text.strip()
            if text:
                piece = f"{text}." if turn.role == "assistant" else form.replace("{}", text)
                written = f"{written} {piece}" if written else piece
        images = [i for turn in turns for i in turn.images]
        places = [self.image_id] * (self.image_tokens * len(images))
        return [*places, *self._opening, *self._bare(written), *self._closing], bool(written)

    def _bare(self, text: str) -> list[int]:
        """Ids without what begins and ends a text; control tokens that a user names are letters."""
        return [
            i
            for piece in self._disarmed(text)
            for i in self.tokenizer.encode(piece, add_special_tokens=False)
        ]
