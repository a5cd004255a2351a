"""BLIP-2 (arXiv 2301.12597): a Q-Former between a frozen tower and a frozen language model, in two stages.

In the first it learns what of a picture words can tell, beside texts that it reads and writes itself: "itc"
(contrast), "itm" (matching), "itg" (writing). In the second what its queries found stands in front of a
language model's text: "prefix_lm", the paper's loss, and "lm", for questions with answers.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch import Tensor, nn

from looksay.errors import InputError
from looksay.models import batching, checkpoint, representing
from looksay.models.answering import Reader
from looksay.models.batching import Batch, pad
from looksay.models.decoding import resting
from looksay.models.families._blip2_prompts import TEMPLATE, Blip2Prompter
from looksay.models.language import Language
from looksay.models.pairs import framed, one_per_row
from looksay.models.preference import PREFERENCE
from looksay.models.prompting import add_image_token
from looksay.models.qformer import QFormer, QFormerText, similarities
from looksay.models.representing import FIRST
from looksay.models.seq2seq import Seq2Seq
from looksay.models.spliced import Spliced
from looksay.models.vision import TransformersTower
from looksay.types import Conversation, Example, Image


class Blip2(Spliced):
    """tower → Q-Former (the connector) → language model; `text` is the Q-Former's own side of words.

    Without `text` it cannot be trained in the first stage nor retrieve; without `language` it does nothing
    else. `template` "blip2": the published prompts; None: the tokenizer's own chat template.
    """

    family = "blip2"
    language: Any

    def __init__(
        self,
        tower: Any,
        connector: QFormer,
        tokenizer: Any,
        text: QFormerText | None = None,
        language: Language | None = None,
        template: str | None = None,
        image_token: str = "<image>",
    ) -> None:
        if language is None:
            nn.Module.__init__(self)
            self.tower, self.connector, self.language = tower, connector, None
            self.qformer = None
            self.template, self.image_token = template, image_token
            self.prompter: Any = Reader(tokenizer, connector.queries)
            if tower.width != connector.width_in:
                raise InputError(
                    f"The tower's features are {tower.width} wide, but the Q-Former expects "
                    f"{connector.width_in}. Build it as width_in={tower.width}."
                )
        else:
            super().__init__(tower, connector, language, tokenizer, template, image_token)
            self.prompter = Blip2Prompter(
                tokenizer, connector.queries, image_token, encoder=isinstance(language, Seq2Seq)
            )
        if language is None and text is None:
            raise InputError(
                "A BLIP-2 has a text side, a language model, or both; neither was given."
            )
        if text is not None and text.arguments["width"] != connector.width:
            raise InputError(
                f"The text side is {text.arguments['width']} wide, but the Q-Former is {connector.width}. "
                f"Build it as width={connector.width}, layers={connector.layers}."
            )
        self.text = text

    @property
    def parts(self) -> dict[str, nn.Module]:
        found = {"tower": self.tower, "connector": self.connector}
        found |= {} if self.text is None else {"text": self.text}
        return found if self.language is None else {**found, "language": self.language}

    # -- learning

    def encode(
        self,
        example: Example,
        template: str | None = None,
        objectives: Collection[str] = ("lm",),
    ) -> batching.Sequence:
        """For the first stage a picture and its caption; else as `Spliced`. Objectives of the two stages do not
        mix: their texts are ids of different tokenizers."""
        if not representing.alone(objectives):
            return self._encode_spoken(example, template, objectives)
        return representing.encode(example, self._side(), self.pixels)

    def _encode_spoken(
        self, example: Example, template: str | None, objectives: Collection[str]
    ) -> batching.Sequence:
        if {"lm", "prefix_lm", PREFERENCE} & set(objectives):
            self._speaker()
        splits = "prefix_lm" in objectives
        asked = {*objectives, "lm"} - {"prefix_lm"} if splits else objectives
        found = super().encode(example, template, asked)
        if splits and isinstance(self.language, Seq2Seq):
            # The paper does not say how a text is split. Here its id draws the place, so that an example that
            # comes again after a break is split as before.
            share = Random(f"{example.id}-prefix").random()
            found = self.prompter.split(found, share, template or self.template)
        return found

    def forward(self, batch: Batch, objectives: Collection[str] = ("lm",)) -> dict[str, Tensor]:
        """Mean losses by objective; that of "prefix_lm" is named "lm", whose ids it counts."""
        if any(name in FIRST for name in objectives):
            alone = one_per_row(batch)
            features_BND = self._features(alone)
            assert features_BND is not None
            return representing.losses(
                self.connector, self._side(), features_BND, alone, objectives
            )
        if "prefix_lm" in objectives:
            objectives = {*objectives, "lm"} - {"prefix_lm"}
        return super().forward(batch, objectives)

    def _side(self) -> QFormerText:
        if self.text is None:
            raise InputError(
                "This BLIP-2 has no text side: it is one of the second stage, which answers but does not "
                "compare. For itc, itm, itg and for retrieval load a model of the first stage."
            )
        return self.text

    def _speaker(self) -> Language:
        if self.language is None:
            raise InputError(
                "This BLIP-2 has no language model: it is one of the first stage, which compares pictures and "
                "texts but does not answer. Load one of the second stage, or train it."
            )
        found: Language = self.language
        return found

    # -- answering and retrieving

    def prepare(self, conversation: Conversation) -> batching.Sequence:
        self._speaker()
        return super().prepare(conversation)

    def embed_queries(self, images: Sequence[Image]) -> Tensor:
        """What each query found in each image, IQE, rows of length 1; `similarities` compares them exactly."""
        text = self._side()
        with resting(self):
            return text.image_embeds(self.connector.read(self._seen(images)))

    def embed_images(self, images: Sequence[Image]) -> Tensor:
        """One vector for each image, IE, of length 1: the mean of its queries, for an index of products. The paper
        compares a text with the query that is most like it (`similarities`)."""
        return nn.functional.normalize(self.embed_queries(images).mean(1), dim=-1)

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """BE, rows of length 1."""
        text = self._side()
        with resting(self):
            return text.text_embeds(text.alone(self.connector, *self._framed(texts)))

    def similarities(self, images: Sequence[Image], texts: Sequence[str]) -> Tensor:
        """Cosines of images and texts, IB, each with the query that is most like the text (section 3.1)."""
        return similarities(self.embed_queries(images), self.embed_texts(texts))

    def match(self, images: Sequence[Image], texts: Sequence[str]) -> Tensor:
        """Log-odds that each image and text belong together, one of each pair."""
        text = self._side()
        with resting(self):
            logits_B2 = text.matches(self.connector, self._seen(images), *self._framed(texts))
            return logits_B2[:, 1] - logits_B2[:, 0]

    def _seen(self, images: Sequence[Image]) -> Tensor:
        """The tower's features; an image that comes again is looked at once."""
        known: dict[int, int] = {}
        places = [known.setdefault(id(image), len(known)) for image in images]
        first = [images[places.index(place)] for place in range(len(known))]
        pixels_ICHW = torch.stack([self.pixels(image) for image in first]).to(self.device)
        features_IND: Tensor = self.tower(pixels_ICHW)
        return features_IND[torch.tensor(places, device=self.device)]

    def _framed(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Ids of texts, and where they are no padding."""
        text = self._side()
        rows = [framed(t, text.tokenizer, text.first, text.last, text.length) for t in texts]
        batch = pad(batching.Sequence(row, row) for row in rows).to(self.device)
        return batch.ids_BT, batch.segments_BT > 0


def build(parts: dict[str, Any], tokenizer: Any, **arguments: Any) -> Blip2:
    """The family from its parts, as a checkpoint names them."""
    return Blip2(
        parts["tower"],
        parts["connector"],
        tokenizer,
        parts.get("text"),
        parts.get("language"),
        **arguments,
    )


def export(model: Blip2, out: Path) -> None:
    """Write the official layout of transformers into a folder (`looksay.models.export`)."""
    from looksay.models.families import _blip2_layouts

    _blip2_layouts.export(model, out)


def load_qformer(model: Blip2, folder: Path | str) -> None:
    """Take the Q-Former of another checkpoint into `model`: for a second stage by itself. The matrix to the
    language model stays as it is, and so does a text side that one of the two lacks.

    Raises WrongPart, with both fingerprints, where it was trained beside another tower, and where it is not of
    this model's size.
    """
    content = checkpoint.read(folder)
    there, here = content["parts"], model.parts
    if content["family"] != Blip2.family:
        raise checkpoint.WrongPart(
            f"{folder} is a {content['family']}; expected a blip2 of the first stage."
        )
    theirs, ours = there["tower"]["fingerprint"], model.tower.fingerprint
    if theirs != ours:
        raise checkpoint.WrongPart(
            f"The Q-Former in {folder} was trained beside a tower with fingerprint {theirs}; this model's has "
            f"{ours}. Load the tower that it was trained with, or train the first stage anew."
        )
    shared = [name for name in ("connector", "text") if name in there and name in here]
    for name in shared:
        found, own = there[name]["arguments"], checkpoint.describe(here[name])["arguments"]
        odd = sorted(k for k in own if k not in ("width_out", "dropout") and own[k] != found.get(k))
        if odd:
            told = ", ".join(f"{k}={str(found.get(k))[:40]}" for k in odd)
            wanted = ", ".join(f"{k}={str(own[k])[:40]}" for k in odd)
            raise checkpoint.WrongPart(
                f"The Q-Former in {folder} has {told}; this model's has {wanted}."
            )
    tensors = checkpoint.read_file(Path(folder) / content["weights"])
    state = {
        name: value
        for name, value in tensors.items()
        if name.split(".")[0] in shared and not name.startswith("connector.project.")
    }
    model.load_state_dict(state, strict=False)


def vit_l_opt_2_7b(dtype: str = "auto") -> Blip2:
    """104M parameters that train, 3.1B in all (table 2)."""
    return _published(_vit_l(), Language.from_folder("facebook/opt-2.7b", dtype=dtype))


def vit_g_opt_2_7b(dtype: str = "auto") -> Blip2:
    """107M parameters that train, 3.8B in all."""
    return _published(_vit_g(), Language.from_folder("facebook/opt-2.7b", dtype=dtype))


def vit_g_opt_6_7b(dtype: str = "auto") -> Blip2:
    """108M parameters that train, 7.8B in all."""
    return _published(_vit_g(), Language.from_folder("facebook/opt-6.7b", dtype=dtype))


def vit_l_flan_t5_xl(dtype: str = "auto") -> Blip2:
    """103M parameters that train, 3.4B in all."""
    return _published(_vit_l(), Seq2Seq.from_folder("google/flan-t5-xl", dtype=dtype))


def vit_g_flan_t5_xl(dtype: str = "auto") -> Blip2:
    """107M parameters that train, 4.1B in all."""
    return _published(_vit_g(), Seq2Seq.from_folder("google/flan-t5-xl", dtype=dtype))


def vit_g_flan_t5_xxl(dtype: str = "auto") -> Blip2:
    """108M parameters that train, 12.1B in all."""
    return _published(_vit_g(), Seq2Seq.from_folder("google/flan-t5-xxl", dtype=dtype))


def _vit_l() -> TransformersTower:
    """CLIP ViT-L/14 without its last block (section 3.4), all 257 tokens."""
    return TransformersTower.from_folder(
        "openai/clip-vit-large-patch14", layer=-2, drop_cls=False, fit="stretch"
    )


def _vit_g() -> TransformersTower:
    """EVA-CLIP ViT-g/14 without its last block, as it lies in the released models."""
    from looksay.models.families import _blip2_layouts

    return _blip2_layouts.tower_of("Salesforce/blip2-itm-vit-g")


def _published(tower: TransformersTower, language: Language) -> Blip2:
    """Before training: frozen parts as released, the Q-Former from BERT's weights, cross-attention and queries new
    (section 3.1)."""
    from transformers import AutoTokenizer

    from looksay.models.families import _blip2_layouts

    bert = "bert-base-uncased"
    connector = QFormer(tower.width, language.width, dropout=0.1)
    text = QFormerText.over(AutoTokenizer.from_pretrained(bert), dropout=0.1)
    _blip2_layouts.begin_as_bert(connector, text, bert)
    tokenizer = AutoTokenizer.from_pretrained(language.base)
    add_image_token(tokenizer)
    return Blip2(tower, connector, tokenizer, text, language, TEMPLATE)
