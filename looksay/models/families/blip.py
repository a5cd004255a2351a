"""BLIP (arXiv 2201.12086): one text transformer that reads, reads over a picture, and writes.

Three modes of one `BertLM` (the paper's mixture of encoder and decoder, section 3.1): text alone from [CLS], over
a picture from [ENC], written from [DEC] with an attention to itself of its own; all the rest is shared.

Shapes: B rows (one picture each), G rows of all processes, T ids in a row, N features of a picture, S features of a
picture or of all frames of a video, D width.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from looksay.errors import InputError
from looksay.models import batching, ranks
from looksay.models.answering import (
    Answering,
    BertLM,
    Looked,
    Reader,
    add_bert_tokens,
    encode_question,
    padded,
    split_answers,
)
from looksay.models.batching import IGNORE, Batch
from looksay.models.beams import BertSteps, beam_search
from looksay.models.contrastive import matching_loss, negatives, shown
from looksay.models.decoding import Transcript
from looksay.models.fusion import Repeated
from looksay.models.losses import token_loss
from looksay.models.momentum import Contrasted, Momentum, ramp
from looksay.models.pairing import Pairing
from looksay.models.pairs import caption, encode_pair, framed
from looksay.types import Conversation, Example, Image, Options

Shown = Image | Sequence[Image]  # a picture, or the frames of a video
QUEUE = 57_600  # of the paper's momentum contrast


class Blip(Answering):
    """tower → text, which reads and writes; `pairing` for contrast and matching, `answers` for questions.

    A model whose `answers` have learned (objective "vqa") reads a question over the picture and writes the answer
    over what it read (section 5.3); any other captions whatever it is shown. `answers` begin as the decoder of
    captions, with the first batch of questions. `prompt` begins every caption and carries no loss; `beams`
    write where the temperature is 0. `ramp_steps`: of momentum distillation's weight (the paper: two epochs).
    Several images of a conversation are the frames of one video (section 5.6).

    Objectives: "itc", "itm" (logged beside it, without a gradient: "itm/wrong", the share that is judged wrongly),
    "lm"; "vqa" and, where the tower has it, "recognise" in stages of their own. Negatives are those of all processes and equal pictures are positives, in every stage; the
    published code does both in fine-tuning only.
    """

    family = "blip"

    def __init__(
        self,
        tower: Any,
        text: BertLM,
        tokenizer: Any,
        pairing: Pairing | None = None,
        answers: BertLM | None = None,
        *,
        prompt: str = "a picture of ",
        max_length: int = 40,
        beams: int = 1,
        min_tokens: int = 0,
        smoothing: float = 0.1,
        ramp_steps: int = 0,
        decay: float = 0.995,
    ) -> None:
        super().__init__()
        self.tower, self.text, self.pairing, self.answers = tower, text, pairing, answers
        self.tokenizer = add_blip_tokens(tokenizer)
        self.prompt, self.max_length, self.smoothing = prompt, max_length, smoothing
        self.beams, self.min_tokens = beams, min_tokens
        self.ramp_steps, self.decay = ramp_steps, decay
        self.end_id = int(tokenizer.sep_token_id)
        self.dec_id, self.enc_id = tokenizer.convert_tokens_to_ids(["[DEC]", "[ENC]"])
        self.prompter = Reader(tokenizer, tower.tokens)
        built = {"width_in": text.arguments["width_in"], "vocabulary": text.vocabulary}
        wanted = {"width_in": tower.width, "vocabulary": len(tokenizer)}
        if built != wanted:
            raise InputError(
                f"The text transformer was built for {built}; tower and tokenizer want {wanted}."
            )
        # How many batches of questions it has learned from.
        self.register_buffer("answered", torch.zeros((), dtype=torch.long))
        self.momentum: Momentum | None = None
        if pairing is not None and pairing.queue:
            slow = {"tower": tower, "text": text, "images": pairing.images, "texts": pairing.texts}
            self.momentum = Momentum(slow, decay)

    @property
    def parts(self) -> dict[str, nn.Module]:
        """What a stage can train, by name."""
        found = {"tower": self.tower, "text": self.text}
        more = {"pairing": self.pairing, "answers": self.answers}
        return found | {name: part for name, part in more.items() if part is not None}

    @property
    def arguments(self) -> dict[str, Any]:
        """What the constructor took besides parts and tokenizer (JSON)."""
        names = ("prompt", "max_length", "beams", "min_tokens", "smoothing", "ramp_steps", "decay")
        return {name: getattr(self, name) for name in names}

    # -- learning

    def encode(
        self,
        example: Example,
        template: str | None = None,
        objectives: Collection[str] = ("lm",),
    ) -> batching.Sequence:
        """A picture and its caption, or (objective "vqa") a picture, a question and its answers.

        `template`: what begins the caption and is not learned; None: the model's own prompt. Raises InputError
        where the example cannot be learned from.
        """
        if "recognise" in objectives:
            return self.grids(example)
        if "vqa" in objectives:
            if set(objectives) != {"vqa"}:
                raise InputError("Captions and questions are different data. Train vqa by itself.")
            room = self.max_length
            return encode_question(example, self.tokenizer, self.pixels, self.dec_id, room)
        begins = self.prompt if template is None else template
        said = caption(example)
        if begins:
            turns = [
                replace(m, parts=(begins + m.text,)) if m.role == "assistant" else m
                for m in example.conversation.messages
            ]
            example = replace(example, conversation=Conversation(tuple(turns)))
        start = self.tokenizer.cls_token_id
        found = encode_pair(
            example, self.tokenizer, self.pixels, start, self.end_id, self.max_length
        )
        given = self._start(begins)
        if found.ids[1 : len(given)] != given[1:]:
            raise InputError(
                f"The tokenizer joins the prompt {begins!r} with the caption {said[:40]!r}, so what is learned "
                "cannot be told from what is given. End the prompt with a space, or leave it out."
            )
        return replace(found, labels=[IGNORE] * len(given) + found.ids[len(given) :])

    def _start(self, prompt: str) -> list[int]:
        """[DEC] and the prompt: what a caption is written after. The space at its end belongs to the next word."""
        return framed(prompt.rstrip(), self.tokenizer, self.dec_id, None, self.max_length)

    def forward(self, batch: Batch, objectives: Collection[str] = ("lm",)) -> dict[str, Tensor]:
        """Mean losses by objective."""
        if "recognise" in objectives:
            return self.recognised(batch)
        features_BND = self.features(batch)
        if "vqa" in objectives:
            return {"vqa": self._answer_loss(batch, features_BND)}
        losses: dict[str, Tensor] = {}
        if {"itc", "itm"} & set(objectives):
            contrasted = self._contrast(batch, features_BND)
            if "itc" in objectives:
                losses["itc"] = contrasted.loss
            if "itm" in objectives:
                losses |= self._matching(batch, features_BND, contrasted)
        if "lm" in objectives:
            ids_BT = _begun(batch.ids_BT, self.dec_id)
            hidden_BTD = self.text.written(ids_BT, batch.segments_BT > 0, features_BND)
            losses["lm"] = token_loss(
                self.text.head(hidden_BTD),
                self.text.weight,
                batch.labels_BT,
                batch.segments_BT,
                self.text.head.bias,
                smoothing=self.smoothing,
            )
        return losses

    def _contrast(self, batch: Batch, features_BND: Tensor) -> Contrasted:
        pairing, momentum = self._pairing, self.momentum
        if momentum is None:
            raise InputError(
                "Contrast learns beside a queue of momentum features, and this model was built without: "
                f"Pairing(…, queue={QUEUE})."
            )
        if pairing.training:
            momentum.update()
        seen_BT = batch.segments_BT > 0
        with torch.no_grad():
            slow_BND = features_BND.detach()  # a frozen tower's average is itself
            if any(weight.requires_grad for weight in self.tower.parameters()):
                slow_BND = momentum("tower", batch.pixels_ICHW)
            slow_BTD = momentum("text", "read", batch.ids_BT, seen_BT)
            slow_images_BD = F.normalize(momentum("images", slow_BND), dim=-1)
            slow_texts_BD = F.normalize(momentum("texts", slow_BTD[:, 0]), dim=-1)
        steps = max(0, int(momentum.steps) - 1)
        found: Contrasted = pairing.contrast(
            pairing.image_rows(features_BND),
            pairing.text_rows(self.text.read(batch.ids_BT, seen_BT)),
            slow_images_BD,
            slow_texts_BD,
            batch.targets["picture"],
            ramp(steps, self.ramp_steps),
        )
        return found

    def _matching(
        self, batch: Batch, features_BND: Tensor, contrasted: Contrasted
    ) -> dict[str, Tensor]:
        """Pairs that belong together, then each text with a picture that does not, each picture with a text."""
        assert self.momentum is not None
        chosen = negatives(
            contrasted.to_texts_BG,
            contrasted.to_images_BG,
            batch.targets["picture"],
            int(self.momentum.steps),
        )
        ids_GT = ranks.gather_texts(batch.ids_BT, self._pad_id)
        seen_GT = ranks.gather_texts(batch.segments_BT > 0)
        more = ids_GT.shape[1] - batch.ids_BT.shape[1]
        ids_BT = F.pad(batch.ids_BT, (0, more))
        seen_BT = F.pad(batch.segments_BT > 0, (0, more))
        logits_RC = self.matching(
            torch.cat([ids_BT, ids_BT, ids_GT[chosen.texts_B]]),
            torch.cat([seen_BT, seen_BT, seen_GT[chosen.texts_B]]),
            shown(features_BND, None, chosen.images_B, None),
        )
        return {"itm": matching_loss(logits_RC), "itm/wrong": self._pairing.wrong(logits_RC)}

    def _answer_loss(self, batch: Batch, features_BND: Tensor) -> Tensor:
        """The sum of each answer's token losses by its weight, mean over questions (the published code's)."""
        if self.answers is None:
            raise InputError(
                "This model has no decoder for answers. Give it one: looksay.models.families._blip_layouts.answering."
            )
        if self.answers.training:
            if not int(self.answered):
                self._begin_answers()
            self.answered += 1
        asked, said, owners_A, weights_A = split_answers(batch, self._pad_id)
        asked_BT, said_AT = asked.segments_BT > 0, said.segments_BT > 0
        states_BTD = self.matched(asked.ids_BT, asked_BT, features_BND)
        hidden_ATD = self.answers.written(
            said.ids_BT, said_AT, states_BTD[owners_A], asked_BT[owners_A]
        )
        each_AT = F.cross_entropy(
            self.answers.logits(hidden_ATD[:, :-1]).float().transpose(1, 2),
            said.ids_BT[:, 1:],
            reduction="none",
            label_smoothing=self.smoothing,
        )
        each_A = each_AT.masked_fill(~said_AT[:, 1:], 0.0).sum(1)
        return (each_A * weights_A).sum() / len(batch.ids_BT)

    @torch.no_grad()
    def _begin_answers(self) -> None:
        known = self.text.state_dict()
        for name, value in cast(BertLM, self.answers).state_dict().items():
            source = known.get(name.replace(".itself.", ".writing."), known[name])
            # What looks at a picture is as wide as what looks at the question in the paper only.
            if source.shape == value.shape:
                value.copy_(source)

    # -- pairs

    @property
    def _pairing(self) -> Pairing:
        if self.pairing is None:
            raise InputError(
                "This model writes and neither embeds nor matches: it has no `pairing`. Load a retrieval "
                "checkpoint, or train one with the objectives itc and itm."
            )
        return self.pairing

    def matched(
        self,
        ids_BT: Tensor,
        seen_BT: Tensor,
        features: Tensor | Repeated,
        features_seen_BS: Tensor | None = None,
    ) -> Tensor:
        """Texts read over pictures, BTD, from [ENC]."""
        ids_BT = _begun(ids_BT, self.enc_id)
        return self.text.read(ids_BT, seen_BT, features, features_seen_BS)

    def matching(self, *read: Any) -> Tensor:
        """Logits B2 of "does not belong" and "belongs" of what `matched` takes. Published rankings add the second
        to the cosine of contrast."""
        logits_B2: Tensor = self._pairing.matches(self.matched(*read)[:, 0])
        return logits_B2.float()

    @torch.inference_mode()
    def embed_images(self, images: Sequence[Shown]) -> Tensor:
        """Rows ID of length 1; of a video, the mean of its frames' projections (eval_retrieval_video.py)."""
        shown = [self._pixels(one) for one in images]
        pixels_ICHW = torch.stack([chw for frames in shown for chw in frames]).to(self.device)
        rows_IE = self._pairing.images(self.tower(pixels_ICHW))
        means = [rows.mean(0) for rows in rows_IE.split([len(frames) for frames in shown])]
        return F.normalize(torch.stack(means), dim=-1)

    @torch.inference_mode()
    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """Rows ID of length 1."""
        words = self._words(texts)
        return self._pairing.text_rows(self.text.read(words.ids_BT, words.segments_BT > 0))

    @torch.inference_mode()
    def match(self, images: Sequence[Shown], texts: Sequence[str]) -> Tensor:
        """Log-odds P that each picture (or video: the features of all its frames side by side) and text belong
        together. A picture that comes several times is looked at once."""
        words = self._words(texts)
        kept = {id(shown): shown for shown in images}
        place = {name: number for number, name in enumerate(kept)}
        features_BSD, seen_BS = self._side_by_side([self._pixels(s) for s in kept.values()])
        rows = [place[id(shown)] for shown in images]
        logits_B2 = self.matching(
            words.ids_BT,
            words.segments_BT > 0,
            features_BSD[rows],
            None if seen_BS is None else seen_BS[rows],
        )
        return logits_B2[:, 1] - logits_B2[:, 0]

    def _words(self, texts: Sequence[str]) -> Batch:
        return padded([self._framed(text) for text in texts], self._pad_id).to(self.device)

    def _framed(self, text: str) -> list[int]:
        start = self.tokenizer.cls_token_id
        return framed(text, self.tokenizer, start, self.end_id, self.max_length)

    @property
    def _pad_id(self) -> int:
        return int(self.tokenizer.pad_token_id or 0)

    def _pixels(self, shown: Shown) -> list[Tensor]:
        return [self.pixels(i) for i in ([shown] if isinstance(shown, Image) else shown)]

    def _side_by_side(self, shown: Sequence[Sequence[Tensor]]) -> tuple[Tensor, Tensor | None]:
        """The features of each picture, or of all frames of each video, BSD, and where they end (BS; None: all
        are as long)."""
        pixels_ICHW = torch.stack([chw for frames in shown for chw in frames]).to(self.device)
        pieces = self.tower(pixels_ICHW).split([len(frames) for frames in shown])
        rows = [features.flatten(0, 1) for features in pieces]
        features_BSD = nn.utils.rnn.pad_sequence(rows, batch_first=True)
        lengths_B = torch.tensor([len(row) for row in rows], device=self.device)
        seen_BS = torch.arange(features_BSD.shape[1], device=self.device) < lengths_B[:, None]
        return features_BSD, None if bool(seen_BS.all()) else seen_BS

    # -- answering

    @property
    def writer(self) -> BertLM:
        return self.answers if self.answers is not None and int(self.answered) else self.text

    @property
    def cannot_describe(self) -> str:
        """Why it has no caption for a picture; empty where it has."""
        asked = self.writer is self.answers
        return "this BLIP has learned to answer questions, and captions no more" if asked else ""

    @property
    def given(self) -> int:  # type: ignore[override]
        """How many ids stand before what it writes."""
        return 1 if self.writer is self.answers else len(self._start(self.prompt))

    def prepare(self, conversation: Conversation) -> batching.Sequence:
        """A picture (or the frames of a video), and a question if this model answers questions. Raises InputError."""
        images, messages = conversation.images, conversation.messages
        if not images or messages[-1].role != "user":
            raise InputError(
                f"Found {len(images)} images; BLIP wants a picture (or the frames of a video) and, last, the user's "
                "turn."
            )
        ids = self._start(self.prompt)
        if self.writer is self.answers:
            if not messages[-1].text.strip():
                raise InputError("This model answers questions. Ask one in words.")
            ids = self._framed(messages[-1].text)
        pixels = tuple(self.pixels(image) for image in images)
        return batching.Sequence(ids, [IGNORE] * len(ids), pixels)

    def look(self, prompts: Sequence[batching.Sequence]) -> Looked:
        """A captioner looks at the picture; one that answers, at its question as read over the picture."""
        features_BSD, some_BS = self._side_by_side([prompt.pixels for prompt in prompts])
        asked = padded([prompt.ids for prompt in prompts], self._pad_id).to(self.device)
        if self.writer is self.text:
            return Looked(features_BSD, some_BS, asked.ids_BT)
        seen_BT = asked.segments_BT > 0
        states_BTD = self.matched(asked.ids_BT, seen_BT, features_BSD, some_BS)
        starts_B1 = torch.full((len(prompts), 1), self.dec_id, device=self.device)
        return Looked(states_BTD, seen_BT, starts_B1)

    def _speak(
        self, options: Options, prompts: Sequence[batching.Sequence], said: Sequence[Transcript]
    ) -> Iterator[tuple[int, int]]:
        if options.temperature > 0 or self.beams == 1:
            yield from super()._speak(options, prompts, said)
            return
        looked = self.look(prompts)
        texts = beam_search(
            BertSteps(self.writer, looked.context_BSD, looked.seen_BS),
            looked.starts_BT,
            self.end_id,
            said[0].max_tokens,
            self.beams,
            self.min_tokens,
        )
        for row, ids in enumerate(texts):
            for token in ids:
                ended = said[row].add(token)
                yield row, token
                if ended:
                    break


def add_blip_tokens(tokenizer: Any) -> Any:
    """The tokenizer with BERT's tokens, [DEC] and [ENC]; in BERT's vocabulary they are 30522 and 30523."""
    add_bert_tokens(tokenizer)
    tokenizer.add_tokens(["[DEC]", "[ENC]"], special_tokens=True)
    return tokenizer


def build(parts: Mapping[str, Any], tokenizer: Any, **arguments: Any) -> Blip:
    """The family from its parts, as a checkpoint names them."""
    pairing, answers = parts.get("pairing"), parts.get("answers")
    return Blip(parts["tower"], parts["text"], tokenizer, pairing, answers, **arguments)


def _begun(ids_BT: Tensor, first: int) -> Tensor:
    """The same texts from another first id: which of the modes reads them."""
    ids_BT = ids_BT.clone()
    ids_BT[:, 0] = first
    return ids_BT
