"""ALBEF (arXiv 2107.07651): pictures and texts are aligned by contrast before they are fused.

A tower sees, the first half of a BERT reads, its second half reads over the picture; slow copies of all of them
give contrast and masked words soft targets (momentum distillation, section 3.3).

Shapes: B rows (one picture each), G rows of all processes, T ids in a row, N features of a picture, D width, V
vocabulary, M masked words, P pairs.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
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
    question,
    split_answers,
)
from looksay.models.batching import IGNORE, Batch
from looksay.models.contrastive import matching_loss, negatives, shown
from looksay.models.fusion import Bert, Repeated, both_ways
from looksay.models.momentum import Contrasted, Momentum, ramp
from looksay.models.pairing import Pairing
from looksay.models.pairs import encode_pair, framed
from looksay.types import Conversation, Example, Image

QUEUE = 65_536
"""Of the paper's momentum contrast."""


class Albef(Answering):
    """tower and text → fusion; `pairing` for contrast and matching, `decoder` for answers (section 4, VQA).

    `alpha` is momentum distillation's weight, reached after `alpha_steps` batches (the paper: one epoch), and
    `decay` that of the slow copies; `masked` is the share of words that are masked. A decoder begins, with the
    first batch of "vqa", as the fusion half with the text half's words, as the published code has it.

    Objectives: "ita", "itm" (logged beside it, without a gradient: "itm/wrong", the share that is judged wrongly),
    "mlm", "vqa". Negatives are the rows of all processes, equal pictures are positives (the published code: in
    fine-tuning for retrieval only).
    """

    family = "albef"
    cannot_describe = "ALBEF answers questions, searches and matches, and learns no captions"

    def __init__(
        self,
        tower: Any,
        text: BertLM,
        fusion: Bert,
        pairing: Pairing,
        tokenizer: Any,
        decoder: BertLM | None = None,
        *,
        max_length: int = 30,
        alpha: float = 0.4,
        alpha_steps: int = 0,
        decay: float = 0.995,
        masked: float = 0.15,
    ) -> None:
        super().__init__()
        self.tower, self.text, self.fusion = tower, text, fusion
        self.pairing, self.decoder = pairing, decoder
        self.tokenizer = add_bert_tokens(tokenizer)
        self.max_length, self.masked = max_length, masked
        self.alpha, self.alpha_steps, self.decay = alpha, alpha_steps, decay
        self.start_id, self.end_id = int(tokenizer.cls_token_id), int(tokenizer.sep_token_id)
        self.prompter = Reader(tokenizer, tower.tokens)
        for what, found, wanted in (
            ("tower's features are", tower.width, fusion.arguments["width_in"]),
            ("text half's states are", text.width, fusion.width),
            ("tokenizer's words are", len(tokenizer), text.vocabulary),
        ):
            if found != wanted:
                raise InputError(
                    f"The {what} {found}, but {wanted} were expected. Build the text half with vocabulary="
                    f"{len(tokenizer)} and the fusion half with width={text.width}, width_in={tower.width}."
                )
        slow = {"tower": tower, "text": text, "fusion": fusion, "decoder": decoder}
        slow |= {"images": pairing.images, "texts": pairing.texts}
        self.momentum = Momentum({k: v for k, v in slow.items() if v is not None}, decay)
        self.register_buffer("answered", torch.zeros((), dtype=torch.long))

    @property
    def parts(self) -> dict[str, nn.Module]:
        """What a stage can train, by name."""
        found: dict[str, nn.Module] = {
            "tower": self.tower,
            "text": self.text,
            "fusion": self.fusion,
            "pairing": self.pairing,
        }
        return found if self.decoder is None else {**found, "decoder": self.decoder}

    @property
    def arguments(self) -> dict[str, Any]:
        """What the constructor took besides parts and tokenizer (JSON)."""
        names = ("max_length", "alpha", "alpha_steps", "decay", "masked")
        return {name: getattr(self, name) for name in names}

    @property
    def device(self) -> torch.device:
        return self.text.weight.device

    # -- learning

    def encode(
        self,
        example: Example,
        template: str | None = None,
        objectives: Collection[str] = ("ita", "itm", "mlm"),
    ) -> batching.Sequence:
        """A picture and its caption, or (objective "vqa") a picture, a question and its answers.

        `template` changes nothing. Raises InputError where the example cannot be learned from.
        """
        if "recognise" in objectives:
            return self.grids(example)
        tokenizer, room = self.tokenizer, self.max_length
        if "vqa" in objectives:
            if set(objectives) != {"vqa"}:
                raise InputError(
                    "Questions and captions are different data: train vqa in a stage of its own."
                )
            return encode_question(example, tokenizer, self.pixels, self.start_id, room)
        return encode_pair(example, tokenizer, self.pixels, self.start_id, self.end_id, room)

    def forward(
        self, batch: Batch, objectives: Collection[str] = ("ita", "itm", "mlm")
    ) -> dict[str, Tensor]:
        """Mean losses by objective. A batch that trains moves the slow copies first."""
        if "recognise" in objectives:
            return self.recognised(batch)
        if any(part.training for part in self.parts.values()):
            if "vqa" in objectives:
                if not int(self.answered):
                    self._begin_decoder()
                self.answered += 1
            self.momentum.update()
        features_BND = self.features(batch)
        slow_BND = self._slow_features(batch, features_BND)
        if "vqa" in objectives:
            return {"vqa": self._answer_loss(batch, features_BND, slow_BND)}
        # As wide as the widest of all processes: their states are gathered.
        pad_id = int(self.tokenizer.pad_token_id or 0)
        ids_GT = ranks.gather_texts(batch.ids_BT, pad_id)
        seen_GT = ranks.gather_texts(batch.segments_BT > 0)
        own = ranks.own(len(batch.ids_BT))
        ids_BT, seen_BT = ids_GT[own], seen_GT[own]
        losses: dict[str, Tensor] = {}
        if {"ita", "itm"} & set(objectives):
            states_BTD = self.text.read(ids_BT, seen_BT)
            pictures_B = batch.targets["picture"]
            found = self._contrast(states_BTD, features_BND, ids_BT, seen_BT, slow_BND, pictures_B)
            if "ita" in objectives:
                losses["ita"] = found.loss
            if "itm" in objectives:
                losses |= self._matching(states_BTD, features_BND, seen_GT, found, pictures_B)
        if "mlm" in objectives:
            losses["mlm"] = self._word_loss(ids_BT, seen_BT, features_BND, slow_BND)
        return losses

    def fuse(self, states_BTD: Tensor, seen_BT: Tensor, features: Tensor | Repeated) -> Tensor:
        """Texts as the text half has read them, read over pictures, BTD."""
        fused_BTD: Tensor = self.fusion(states_BTD, both_ways(seen_BT), features)
        return fused_BTD

    def weight(self, steps: int) -> float:
        """Momentum distillation's weight in batch number `steps` (from 1)."""
        return ramp(max(0, steps - 1), self.alpha_steps, self.alpha)

    def _slow_features(self, batch: Batch, features_BND: Tensor) -> Tensor:
        if any(weight.requires_grad for weight in self.tower.parameters()):
            return cast(Tensor, self.momentum("tower", batch.pixels_ICHW))
        return features_BND.detach()  # the average of a frozen tower is itself

    def _contrast(
        self,
        states_BTD: Tensor,
        features_BND: Tensor,
        ids_BT: Tensor,
        seen_BT: Tensor,
        slow_BND: Tensor,
        pictures_B: Tensor,
    ) -> Contrasted:
        slow_BTD = self.momentum("text", "read", ids_BT, seen_BT)
        found: Contrasted = self.pairing.contrast(
            self.pairing.image_rows(features_BND),
            self.pairing.text_rows(states_BTD),
            F.normalize(self.momentum("images", slow_BND), dim=-1),
            F.normalize(self.momentum("texts", slow_BTD[:, 0]), dim=-1),
            pictures_B,
            self.weight(int(self.momentum.steps)),
        )
        return found

    def _matching(
        self,
        states_BTD: Tensor,
        features_BND: Tensor,
        seen_GT: Tensor,
        found: Contrasted,
        pictures_B: Tensor,
    ) -> dict[str, Tensor]:
        """Pairs that belong together, then each text with a picture that does not, each picture with a text.
        States and features are gathered and not made again."""
        seed = 2 * int(self.momentum.steps)
        chosen = negatives(found.to_texts_BG, found.to_images_BG, pictures_B, seed)
        seen_BT = seen_GT[ranks.own(len(states_BTD))]
        fused_PTD = self.fuse(
            torch.cat([states_BTD, states_BTD, ranks.gather(states_BTD)[chosen.texts_B]]),
            torch.cat([seen_BT, seen_BT, seen_GT[chosen.texts_B]]),
            shown(features_BND, None, chosen.images_B, None),
        )
        logits_P2 = self.pairing.matches(fused_PTD[:, 0])
        return {"itm": matching_loss(logits_P2), "itm/wrong": self.pairing.wrong(logits_P2)}

    def _word_loss(
        self, ids_BT: Tensor, seen_BT: Tensor, features_BND: Tensor, slow_BND: Tensor
    ) -> Tensor:
        """Masked words: cross-entropy with the word, and with what the slow copies say of it."""
        steps = int(self.momentum.steps)
        # For all places that there can be: padding then changes no draw.
        drawn_BT3 = ranks.uniform(2 * steps + 1, len(ids_BT), self.text.bert.positions, 3)
        given_BT, hidden_BT = mask_words(
            ids_BT,
            seen_BT & (ids_BT != self.start_id),
            drawn_BT3[:, : ids_BT.shape[1]].to(ids_BT.device),
            self.masked,
            int(self.tokenizer.mask_token_id),
            self.text.vocabulary,
        )
        slow_BTD = self.momentum("text", "read", given_BT, seen_BT)
        slow_BTD = self.momentum("fusion", slow_BTD, both_ways(seen_BT), slow_BND)
        soft_MV = self.momentum("text", "logits", slow_BTD[hidden_BT])
        fused_BTD = self.fuse(self.text.read(given_BT, seen_BT), seen_BT, features_BND)
        logits_MV = self.text.logits(fused_BTD[hidden_BT])
        each_M = distilled(logits_MV, ids_BT[hidden_BT], soft_MV, self.weight(steps))
        return ranks.mean(each_M.sum(), len(each_M))

    def _answer_loss(self, batch: Batch, features_BND: Tensor, slow_BND: Tensor) -> Tensor:
        """The sum of each answer's losses by its weight, mean over questions (the published code's)."""
        decoder = self.writer
        pad_id = int(self.tokenizer.pad_token_id or 0)
        asked, said, owners_A, weights_A = split_answers(batch, pad_id)
        asked_BT, said_AT = asked.segments_BT > 0, said.segments_BT > 0
        states_BTD = self.fuse(self.text.read(asked.ids_BT, asked_BT), asked_BT, features_BND)
        context = states_BTD[owners_A], asked_BT[owners_A]
        logits_ATV = decoder.logits(decoder.written(said.ids_BT, said_AT, *context)[:, :-1])
        slow_BTD = self.momentum("text", "read", asked.ids_BT, asked_BT)
        slow_BTD = self.momentum("fusion", slow_BTD, both_ways(asked_BT), slow_BND)
        context = slow_BTD[owners_A], asked_BT[owners_A]
        soft_ATD = self.momentum("decoder", "written", said.ids_BT, said_AT, *context)
        soft_ATV = self.momentum("decoder", "logits", soft_ATD[:, :-1])
        each_AT = distilled(
            logits_ATV, said.ids_BT[:, 1:], soft_ATV, self.weight(int(self.answered))
        )
        each_A = each_AT.masked_fill(~said_AT[:, 1:], 0.0).sum(1)
        return (each_A * weights_A).sum() / len(batch.ids_BT)

    @torch.no_grad()
    def _begin_decoder(self) -> None:
        known = self.text.state_dict() | {
            f"bert.{name}": value for name, value in self.fusion.state_dict().items()
        }
        for name, value in self.writer.state_dict().items():
            # What looks at a picture is as wide as the decoder's look at the question in the paper only.
            if name in known and known[name].shape == value.shape:
                value.copy_(known[name])

    # -- pairs

    @torch.inference_mode()
    def embed_images(self, images: Sequence[Image]) -> Tensor:
        """Rows ID of length 1."""
        return self.pairing.image_rows(self._seen(images))

    @torch.inference_mode()
    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """Rows ID of length 1."""
        states_BTD, _ = self._read(texts)
        return self.pairing.text_rows(states_BTD)

    @torch.inference_mode()
    def match(self, images: Sequence[Image], texts: Sequence[str]) -> Tensor:
        """Log-odds P that each picture and text belong together: what ranks again the first candidates of the
        cosines (the paper: 256 on COCO, 128 on Flickr30K). What comes several times is encoded once."""
        pictures = {id(image): image for image in images}
        place = {name: number for number, name in enumerate(pictures)}
        features_BND = self._seen(list(pictures.values()))[[place[id(image)] for image in images]]
        said = list(dict.fromkeys(texts))
        states_BTD, seen_BT = self._read(said)
        rows = [said.index(text) for text in texts]
        fused_PTD = self.fuse(states_BTD[rows], seen_BT[rows], features_BND)
        logits_P2 = self.pairing.matches(fused_PTD[:, 0])
        return cast(Tensor, logits_P2[:, 1] - logits_P2[:, 0])

    def _seen(self, images: Sequence[Image]) -> Tensor:
        pixels_ICHW = torch.stack([self.pixels(image) for image in images])
        return cast(Tensor, self.tower(pixels_ICHW.to(self.device)))

    def _read(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        rows = [self._framed(text) for text in texts]
        batch = padded(rows, int(self.tokenizer.pad_token_id or 0)).to(self.device)
        seen_BT = batch.segments_BT > 0
        return self.text.read(batch.ids_BT, seen_BT), seen_BT

    def _framed(self, text: str) -> list[int]:
        return framed(text, self.tokenizer, self.start_id, self.end_id, self.max_length)

    # -- answering

    @property
    def writer(self) -> BertLM:
        if self.decoder is None:
            raise InputError(
                "This model ranks pictures and texts and has no decoder for answers. Build it with one "
                "(looksay.models.families.albef.albef_base) and train the objective vqa."
            )
        return self.decoder

    def prepare(self, conversation: Conversation) -> batching.Sequence:
        """A picture and the user's last question, which alone is read. Raises InputError."""
        ids = self._framed(question(conversation))
        (image,) = conversation.images
        return batching.Sequence(ids, [IGNORE] * len(ids), (self.pixels(image),))

    def look(self, prompts: Sequence[batching.Sequence]) -> Looked:
        """The questions as read over their pictures."""
        asked = padded([prompt.ids for prompt in prompts], int(self.tokenizer.pad_token_id or 0))
        asked = asked.to(self.device)
        pixels_ICHW = torch.stack([prompt.pixels[0] for prompt in prompts]).to(self.device)
        seen_BT = asked.segments_BT > 0
        states_BTD = self.fuse(
            self.text.read(asked.ids_BT, seen_BT), seen_BT, self.tower(pixels_ICHW)
        )
        return Looked(states_BTD, seen_BT, asked.ids_BT[:, :1])


def mask_words(
    ids_BT: Tensor,
    maskable_BT: Tensor,
    drawn_BT3: Tensor,
    share: float,
    mask_id: int,
    vocabulary: int,
) -> tuple[Tensor, Tensor]:
    """Texts with a share of their words hidden, and where (bool). Of these 80% become `mask_id`, 10% any word, 10%
    stay (BERT, arXiv 1810.04805, section 3.1). `drawn_BT3`: three numbers from 0 to 1 for each place."""
    hidden_BT = maskable_BT & (drawn_BT3[..., 0] < share)
    how_BT = drawn_BT3[..., 1]
    words_BT = (drawn_BT3[..., 2] * vocabulary).long()
    given_BT = torch.where(hidden_BT & (how_BT < 0.8), mask_id, ids_BT)
    given_BT = torch.where(hidden_BT & (how_BT >= 0.8) & (how_BT < 0.9), words_BT, given_BT)
    return given_BT, hidden_BT


def distilled(logits: Tensor, ids: Tensor, soft: Tensor, alpha: float) -> Tensor:
    """Cross-entropy of each place with its word, and by `alpha` with the slow model's softmax instead (section
    3.3). Logits and `soft` (…, V), ids and the result (…)."""
    scores = logits.float().log_softmax(-1)
    hard = -scores.gather(-1, ids[..., None])[..., 0]
    if not alpha:
        return hard
    softly = -(scores * soft.float().softmax(-1)).sum(-1)
    return (1 - alpha) * hard + alpha * softly


def build(parts: Mapping[str, Any], tokenizer: Any, **arguments: Any) -> Albef:
    """The family from its parts, as a checkpoint names them."""
    return Albef(
        parts["tower"],
        parts["text"],
        parts["fusion"],
        parts["pairing"],
        tokenizer,
        parts.get("decoder"),
        **arguments,
    )


def albef_base(
    tower: str = "facebook/deit-base-patch16-224",
    text: str = "google-bert/bert-base-uncased",
    size_px: int = 256,
    alpha_steps: int = 27_600,
) -> Albef:
    """ALBEF before training: DeiT-B/16 sees (256 px; 384 in fine-tuning), BERT's layers 0 to 5 read and 6 to 11
    fuse (section 3.1). `alpha_steps`: an epoch of the paper's 14.1 million pairs in batches of 512."""
    from looksay.models.families._albef_layouts import from_parts

    return from_parts(tower, text, size_px, QUEUE, alpha_steps=alpha_steps)
