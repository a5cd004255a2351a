"""Answers from a BERT decoder that looks at what an encoder made of question and picture: VQA in ALBEF
(arXiv 2107.07651, section 4) and BLIP (2201.12086, section 5.3), captions in BLIP.

Shapes: B rows, T ids in a row, S places that are looked at, D width, V vocabulary, C choices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from looksay.errors import InputError
from looksay.models import batching
from looksay.models.batching import IGNORE, Batch, pad
from looksay.models.decoding import (
    Answer,
    Transcript,
    answer_all,
    pick,
    resting,
    seeded,
    stream_one,
)
from looksay.models.fusion import Bert, Repeated, WordHead, both_ways, forwards
from looksay.models.pairs import caption, framed, pictures_alone
from looksay.models.prompting import image_key
from looksay.models.vision import pixels_of, recogniser
from looksay.types import Conversation, Example, Image, Options

ANSWERS = 10
"""Different answers to one question, at most (VQA has ten people answer each)."""


class BertLM(nn.Module):
    """A `Bert` with its output layer, which is its word embedding: it reads, writes, and weighs words.

    Takes what `Bert` takes. `forward` names a method, so that a slow copy (`momentum.Momentum`) runs it too.
    """

    def __init__(self, vocabulary: int, width: int = 768, **arguments: Any) -> None:
        super().__init__()
        self.bert = Bert(vocabulary, width, **arguments)
        self.head = WordHead(width, vocabulary)
        self.width, self.vocabulary = width, vocabulary
        self.arguments = self.bert.arguments

    def forward(self, what: str, *inputs: Any, **options: Any) -> Any:
        return getattr(self, what)(*inputs, **options)

    @property
    def weight(self) -> Tensor:
        """Word embeddings and output layer, VD."""
        assert self.bert.words is not None
        weight_VD: Tensor = self.bert.words.weight
        return weight_VD

    def logits(self, hidden_BTD: Tensor) -> Tensor:
        """Scores BTV of words."""
        return F.linear(self.head(hidden_BTD), self.weight, self.head.bias)

    def read(
        self,
        ids_BT: Tensor,
        seen_BT: Tensor,
        context: Tensor | Repeated | None = None,
        context_seen_BS: Tensor | None = None,
    ) -> Tensor:
        """Text read in both directions, BTD, over a context where one is given. `seen…`: False on padding."""
        mask = None if context_seen_BS is None else both_ways(context_seen_BS)
        states_BTD: Tensor = self.bert(self.bert.embed(ids_BT), both_ways(seen_BT), context, mask)
        return states_BTD

    def written(
        self,
        ids_BT: Tensor,
        seen_BT: Tensor,
        context_BSD: Tensor,
        context_seen_BS: Tensor | None = None,
    ) -> Tensor:
        """The same for text that is written: no place sees what comes after it."""
        mask = None if context_seen_BS is None else both_ways(context_seen_BS)
        states_BTD: Tensor = self.bert(
            self.bert.embed(ids_BT), forwards(seen_BT), context_BSD, mask, writing=True
        )
        return states_BTD

    def write(
        self,
        starts_BT: Tensor,
        context_BSD: Tensor,
        context_seen_BS: Tensor | None,
        ends: Callable[[int, int], bool],
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int | None = None,
    ) -> Iterator[tuple[int, int]]:
        """Write on after each row's start: yields (row, id), each row in turn, as `Language.generate` does.

        `ends(row, id)` says whether it is the row's last; rows draw with the same seed by themselves.
        """
        rows = list(range(len(starts_BT)))
        generators = [seeded(seed) for _ in rows]
        memory, past, ids_BT = self.bert.memory(), 0, starts_BT
        mask = None if context_seen_BS is None else both_ways(context_seen_BS)
        while rows:
            step = ids_BT.shape[1]
            before_BT = ids_BT.new_ones((len(rows), past + step), dtype=torch.bool)
            states_BTD = self.bert(
                self.bert.embed(ids_BT, start=past),
                forwards(before_BT, past),
                context_BSD,
                mask,
                writing=True,
                memory=memory,
            )
            past += step
            logits_BV = self.logits(states_BTD[:, -1])
            drawn = pick(logits_BV, temperature, top_p, [generators[row] for row in rows])
            kept = []
            for at, (row, token) in enumerate(zip(rows, drawn, strict=True)):
                if not ends(row, token):
                    kept.append(at)
                yield row, token
            index = torch.tensor(kept, device=starts_BT.device, dtype=torch.long)
            if len(kept) < len(rows):
                for pair in memory:
                    for one in pair:
                        one.select(index)
                context_BSD = context_BSD[index]
                mask = None if mask is None else mask[index]
                rows = [rows[at] for at in kept]
            ids_BT = torch.tensor([[drawn[at]] for at in kept], device=starts_BT.device)

    def likelihoods(
        self,
        ids_BT: Tensor,
        seen_BT: Tensor,
        context_BSD: Tensor,
        context_seen_BS: Tensor | None = None,
        start: int = 1,
    ) -> Tensor:
        """Log-likelihood B of each row's ids from `start` on (nats)."""
        hidden_BTD = self.written(ids_BT, seen_BT, context_BSD, context_seen_BS)
        scores_BTV = self.logits(hidden_BTD[:, start - 1 : -1]).float().log_softmax(-1)
        each_BT = scores_BTV.gather(2, ids_BT[:, start:, None])[..., 0]
        return each_BT.masked_fill(~seen_BT[:, start:], 0.0).sum(1)


class Looked(NamedTuple):
    """What the decoder looks at (`seen_BS` is False on padding, None where there is none), and how answers begin."""

    context_BSD: Tensor
    seen_BS: Tensor | None
    starts_BT: Tensor


class Answering(nn.Module):
    """The half of a family that answers by a `BertLM` over something.

    A family gives `prepare` (a conversation as ids and pixels), `look` (what its decoder looks at), `writer`
    (the decoder), `end_id` (what ends an answer) and `given` (how many ids stand before one).
    """

    tokenizer: Any
    tower: Any
    end_id: int
    given = 1

    @property
    def writer(self) -> BertLM:
        raise NotImplementedError

    @property
    def device(self) -> torch.device:
        return self.writer.weight.device

    def pixels(self, image: Image) -> Tensor:
        """A picture as the tower wants it: CHW float32."""
        return pixels_of(image, self.tower)

    def grids(self, example: Example) -> batching.Sequence:
        """A scene as its tower learns from it alone (objective "recognise"): pixels, and what lies where."""
        targets = recogniser(self.tower).targets(example)
        return replace(pictures_alone(example, self.pixels), targets=targets)

    def recognised(self, batch: Batch) -> dict[str, Tensor]:
        """The tower's own losses, named "recognise/…"."""
        found = recogniser(self.tower).losses(batch.pixels_ICHW, batch.targets)
        return {f"recognise/{name}": loss for name, loss in found.items()}

    def features(self, batch: Batch) -> Tensor:
        """What the tower sees in the batch's pictures, one for each text, BND. Raises InputError where some lack."""
        found = batch.features_IND
        if found is None and batch.pixels_ICHW is not None:
            found = self.tower(batch.pixels_ICHW)
        if found is None or len(found) != len(batch.ids_BT):
            raise InputError(
                f"{len(batch.ids_BT)} texts with {0 if found is None else len(found)} pictures: this family learns "
                "from one picture with each text. Set Stage(pack=False), and leave out what has none."
            )
        return cast(Tensor, found)

    def prepare(self, conversation: Conversation) -> batching.Sequence:
        """A conversation whose last turn is the user's, ready to be answered. Raises InputError."""
        raise NotImplementedError

    def look(self, prompts: Sequence[batching.Sequence]) -> Looked:
        """What the decoder looks at for each of these prompts."""
        raise NotImplementedError

    def generate(
        self, conversations: Sequence[Conversation], options: Options, batch_size: int = 8
    ) -> list[Answer]:
        """An answer to each conversation, in order."""
        return self.answer([self.prepare(c) for c in conversations], options, batch_size)

    def answer(
        self, prompts: Sequence[batching.Sequence], options: Options, batch_size: int = 8
    ) -> list[Answer]:
        """The same for conversations that `prepare` has made ready."""
        return answer_all(
            self, prompts, partial(self._begin, options), partial(self._speak, options), batch_size
        )

    def stream(self, conversation: Conversation, options: Options) -> Iterator[str]:
        """The answer piece by piece; the pieces join to the text that `generate` gives."""
        prompt = self.prepare(conversation)
        yield from stream_one(
            self, prompt, partial(self._begin, options), partial(self._speak, options)
        )

    def log_likelihoods(
        self, conversation: Conversation, choices: Sequence[str], most: int | None = None
    ) -> list[float]:
        """Log-likelihood of each choice as the next answer (nats, its end included), in order.

        `most`: only so many are read to their end, those with the likeliest first words (the papers: 128); the
        others get minus infinity. ALBEF's code counts the first word twice there; it counts once here.
        """
        if not choices:
            return []
        with resting(self):
            looked = self.look([self.prepare(conversation)])
            start = looked.starts_BT[0].tolist()
            room = self.writer.bert.positions - len(start)
            rows = [
                [*start, *framed(text, self.tokenizer, None, self.end_id, room)] for text in choices
            ]
            if most is not None and most < len(rows):
                hidden = self.writer.written(
                    looked.starts_BT,
                    torch.ones_like(looked.starts_BT, dtype=torch.bool),
                    looked.context_BSD,
                    looked.seen_BS,
                )
                first_C = torch.tensor([row[len(start)] for row in rows], device=self.device)
                chosen = self.writer.logits(hidden[0, -1])[first_C].topk(most).indices.tolist()
            else:
                chosen = list(range(len(rows)))
            kept = [rows[c] for c in chosen]
            batch = padded(kept, self.tokenizer.pad_token_id or 0).to(self.device)
            found = self.writer.likelihoods(
                batch.ids_BT,
                batch.segments_BT > 0,
                looked.context_BSD.expand(len(kept), -1, -1),
                None if looked.seen_BS is None else looked.seen_BS.expand(len(kept), -1),
                start=len(start),
            )
        told = [-float("inf")] * len(rows)
        for place, value in zip(chosen, found.tolist(), strict=True):
            told[place] = value
        return told

    def _begin(self, options: Options, prompts: Sequence[batching.Sequence]) -> list[Transcript]:
        room = min(options.max_tokens, self.writer.bert.positions - self.given)
        return [Transcript(self.tokenizer, (self.end_id,), options.stop, room) for _ in prompts]

    def _speak(
        self, options: Options, prompts: Sequence[batching.Sequence], said: Sequence[Transcript]
    ) -> Iterator[tuple[int, int]]:
        looked = self.look(prompts)
        yield from self.writer.write(
            looked.starts_BT,
            looked.context_BSD,
            looked.seen_BS,
            lambda row, token: said[row].add(token),
            temperature=options.temperature,
            top_p=options.top_p,
            seed=options.seed,
        )


class Asked(NamedTuple):
    """Questions (a batch of B), their answers (a batch of A), and for each answer its question and its weight."""

    questions: Batch
    answers: Batch
    owners_A: Tensor
    weights_A: Tensor


def encode_question(
    example: Example, tokenizer: Any, pixels: Callable[[Image], Tensor], start_id: int, room: int
) -> batching.Sequence:
    """[CLS] question [SEP], then `start_id` answer [SEP] for each different answer, of which all but its start is
    labelled; "weights" in the targets, float32 of shape (1, ANSWERS).

    `truth["answers"]` (VQA) gives several answers, weighted by how many people gave them. `room`: ids of a
    question, and of an answer. Raises InputError where the example is not one picture with an answer.
    """
    said = caption(example)
    asked = [m for m in example.conversation.messages if m.role == "user"][-1]
    given = [str(a) for a in example.truth.get("answers", ())] or [said]
    shares = {answer: given.count(answer) / len(given) for answer in given}
    weights = torch.zeros(1, ANSWERS)
    ends = tokenizer.sep_token_id
    ids = framed(asked.text, tokenizer, tokenizer.cls_token_id, ends, room)
    labels = [IGNORE] * len(ids)
    for number, (answer, share) in enumerate(list(shares.items())[:ANSWERS]):
        weights[0, number] = share
        new = framed(answer, tokenizer, start_id, ends, room)
        ids, labels = ids + new, [*labels, IGNORE, *new[1:]]
    (image,) = example.conversation.images
    keys = (image_key(image),)
    return batching.Sequence(ids, labels, (pixels(image),), keys, {"weights": weights})


def split_answers(batch: Batch, pad_id: int) -> Asked:
    """A batch of `encode_question` as its questions and answers. An answer is a run of labels and its start."""
    asked: list[list[int]] = []
    said: list[list[int]] = []
    owners: list[int] = []
    weights: list[Tensor] = []
    for row, (ids, labels) in enumerate(
        zip(batch.ids_BT.tolist(), batch.labels_BT.tolist(), strict=True)
    ):
        learned = [label != IGNORE for label in labels]
        starts = [i for i, one in enumerate(learned) if one and not learned[i - 1]]
        asked.append(ids[: starts[0] - 1])
        for number, start in enumerate(starts):
            end = next((i for i in range(start, len(ids)) if not learned[i]), len(ids))
            said.append(ids[start - 1 : end])
            owners.append(row)
            weights.append(batch.targets["weights"][row, number])
    device = batch.ids_BT.device
    return Asked(
        padded(asked, pad_id).to(device),
        padded(said, pad_id).to(device),
        torch.tensor(owners, device=device),
        torch.stack(weights),
    )


def padded(rows: Sequence[list[int]], pad_id: int) -> Batch:
    """Rows of ids from which nothing is learned."""
    return pad([batching.Sequence(row, [IGNORE] * len(row)) for row in rows], pad_id)


class Reader(NamedTuple):
    """What backends ask of a family that has no placeholders: how many tokens a picture costs."""

    tokenizer: Any
    image_tokens: int


def add_bert_tokens(tokenizer: Any) -> Any:
    """The tokenizer, with BERT's [CLS], [SEP] and [MASK] where it has none."""
    wanted = {"cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
    lacking = {k: v for k, v in wanted.items() if getattr(tokenizer, k) is None}
    tokenizer.add_special_tokens(lacking)
    return tokenizer


def question(conversation: Conversation) -> str:
    """What the user asks last, of one picture. Raises InputError where there is no such thing."""
    messages = conversation.messages
    if not messages or messages[-1].role != "user" or not messages[-1].text.strip():
        found = messages[-1].role if messages else "no turn at all"
        raise InputError(f"The last turn is the user's, with a question in words; found: {found}.")
    if len(conversation.images) != 1:
        raise InputError(
            f"Found {len(conversation.images)} images; this model answers questions about one. Ask about each "
            "by itself, or use a family that reads several (llava)."
        )
    return messages[-1].text
