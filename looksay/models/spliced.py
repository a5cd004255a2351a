"""Models that put images into the text of a language model: tower → connector → language model.

The features of an image, through the connector, stand where its placeholders are, as if they were words.
LLaVA is this with a linear layer or an MLP, BLIP-2 in its second stage with a Q-Former, PaLI with an
encoder–decoder behind it; a family adds its name, its presets and what it does otherwise.

Shapes: B rows, T ids in a row, I images, N features per image, M embeddings per image, D width.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from looksay.errors import InputError
from looksay.models import batching, likelihood, preference
from looksay.models.batching import IGNORE, Batch
from looksay.models.decoding import Answer, Transcript, answer_all, stream_one
from looksay.models.grounding import grounding_loss, named_places
from looksay.models.language import Language
from looksay.models.losses import token_loss
from looksay.models.pairs import pictures_alone
from looksay.models.prompting import Prompter, image_key
from looksay.models.qformer import QFormer
from looksay.models.splice import splice
from looksay.models.vision import pixels_of, recogniser
from looksay.types import Conversation, Example, Image, Options


class Spliced(nn.Module):
    """tower → connector → language model, named by `family`.

    `template` is the prompt form that the model was trained with: None for the tokenizer's own chat
    template, or a published one ("v1"). Objectives: "lm"; "preference" where the data are pairs of answers;
    "recognise" where the tower has it; "ground" where the data say what lies where.
    """

    family: str

    def __init__(
        self,
        tower: Any,
        connector: Any,
        language: Language,
        tokenizer: Any,
        template: str | None = None,
        image_token: str = "<image>",
        qformer: QFormer | None = None,
    ) -> None:
        super().__init__()
        self.tower, self.connector, self.language = tower, connector, language
        self.qformer = qformer  # between tower and connector (MiniGPT-4)
        self.template, self.image_token = template, image_token
        read = tower if qformer is None else qformer
        if qformer is not None and qformer.width_in != tower.width:
            raise InputError(
                f"The tower's features are {tower.width} wide, but the Q-Former expects {qformer.width_in}. "
                f"Build it as width_in={tower.width}."
            )
        for what, found, wanted in (
            ("tower's features" if qformer is None else "queries", read.width, connector.width_in),
            ("language model's embeddings", language.width, connector.width_out),
        ):
            if found != wanted:
                raise InputError(
                    f"The {what} are {found} wide, but the connector expects {wanted}. "
                    f"Build it as width_in={read.width}, width_out={language.width}."
                )
        tokens = tower.tokens if qformer is None else qformer.tokens(tower.tokens)
        self.prompter = Prompter(tokenizer, connector.tokens(tokens), image_token)

    @property
    def parts(self) -> dict[str, nn.Module]:
        """What a stage can train, by name."""
        between = {} if self.qformer is None else {"qformer": self.qformer}
        return {
            "tower": self.tower,
            **between,
            "connector": self.connector,
            "language": self.language,
        }

    @property
    def tokenizer(self) -> Any:
        return self.prompter.tokenizer

    @property
    def arguments(self) -> dict[str, Any]:
        """What the constructor took besides parts and tokenizer (JSON)."""
        return {"template": self.template, "image_token": self.image_token}

    @property
    def device(self) -> torch.device:
        device: torch.device = next(self.connector.parameters()).device
        return device

    # -- learning

    def pixels(self, image: Image) -> Tensor:
        """A conversation's image as the tower wants it: CHW float32."""
        return pixels_of(image, self.tower)

    def encode(
        self,
        example: Example,
        template: str | None = None,
        objectives: Collection[str] = ("lm",),
    ) -> batching.Sequence:
        """An example as ids, labels, pixels and the targets of the objectives.

        `template` None: the model's own. Raises InputError where the example cannot be learned from.
        """
        write = partial(self.prompter.encode, template=template or self.template)
        if preference.alone(objectives):
            return preference.encode(example, write, self.pixels)
        if "lm" in objectives:
            found = write(example.conversation, self.pixels)
        else:
            found = pictures_alone(example, self.pixels)
        targets: dict[str, Tensor] = {}
        if "recognise" in objectives:
            targets |= recogniser(self.tower).targets(example)
        if "ground" in objectives:
            targets["named"] = named_places(example, self._word, self.prompter.image_tokens)
        return batching.Sequence(found.ids, found.labels, found.pixels, found.keys, targets)

    def forward(self, batch: Batch, objectives: Collection[str] = ("lm",)) -> dict[str, Tensor]:
        """Mean losses by objective; those of "recognise" are named "recognise/…", figures beside that of
        "preference" "preference/…"."""
        if preference.alone(objectives):
            return preference.losses(self.likelihoods(batch), batch.targets, objectives)
        losses: dict[str, Tensor] = {}
        if "recognise" in objectives and batch.pixels_ICHW is not None:
            found = recogniser(self.tower).losses(batch.pixels_ICHW, batch.targets)
            losses |= {f"recognise/{name}": loss for name, loss in found.items()}
        if "ground" in objectives:
            features_IND = self._features(batch)
            if features_IND is not None:
                what = getattr(self.connector, "what", self.connector)
                losses["ground"] = grounding_loss(
                    what(features_IND), batch.targets["named"], self.language.embed
                )
        if "lm" in objectives:
            weight_VD, bias_V = self.language.head
            losses["lm"] = token_loss(
                self.hidden(batch), weight_VD, batch.labels_BT, batch.segments_BT, bias_V
            )
        return losses

    def likelihoods(self, pairs: Batch) -> Tensor:
        """Log-likelihoods (nats) of the chosen and of the rejected answer of each pair, 2E."""
        answers = preference.unfolded(pairs, self._features(pairs))
        return likelihood.of_labels(self, answers).unflatten(0, (2, -1))

    def _word(self, name: str) -> list[int]:
        """A name as it stands in the middle of a text."""
        ids: list[int] = self.tokenizer(f" {name}", add_special_tokens=False)["input_ids"]
        return ids

    def hidden(self, batch: Batch) -> Tensor:
        """What the output layer reads, BTD; `language.logits` makes scores of it."""
        features_IND = self._features(batch)
        images_IMD = None if features_IND is None else self.images(features_IND)
        embeds_BTD = self.embed(batch.ids_BT, images_IMD)
        if images_IMD is None and torch.is_grad_enabled():
            embeds_BTD = embeds_BTD + self._idle()
        return self.language.hidden(
            embeds_BTD, batch.segments_BT, batch.positions_BT, batch.labels_BT
        )

    def images(self, features_IND: Tensor) -> Tensor:
        """Embeddings IMD of images, as words, from what the tower sees in them."""
        found = features_IND if self.qformer is None else self.qformer.read(features_IND)
        embeds_IMD: Tensor = self.connector(found)
        return embeds_IMD

    def embed(self, ids_BT: Tensor, images_IMD: Tensor | None) -> Tensor:
        """Embeddings BTD of a text with its images in place. Raises SpliceError on a wrong count."""
        # The placeholder may lie beyond the vocabulary (add_image_token), so it is never looked up.
        words_BT = ids_BT.masked_fill(ids_BT == self.prompter.image_id, 0)
        embeds_BTD = self.language.embed(words_BT)
        if images_IMD is None:
            images_IMD = embeds_BTD.new_zeros((0, self.prompter.image_tokens, self.language.width))
        return splice(embeds_BTD, ids_BT, images_IMD, self.prompter.image_id)

    def _features(self, batch: Batch) -> Tensor | None:
        """What the tower sees in the batch's images, IND; None where there are none."""
        if batch.features_IND is None and batch.pixels_ICHW is not None:
            features_IND: Tensor = self.tower(batch.pixels_ICHW)
            return features_IND
        return batch.features_IND

    def _idle(self) -> Tensor:
        """Zero, with a gradient for each trained part that a batch without images does not use: data-
        parallel training waits for the gradients of all."""
        zero = torch.zeros((), device=self.device)
        for name, part in self.parts.items():
            for weight in part.parameters() if name != "language" else ():
                if weight.requires_grad:
                    zero = zero + 0.0 * weight.sum()
        return zero.to(self.language.head[0].dtype)

    # -- answering

    def prepare(self, conversation: Conversation) -> batching.Sequence:
        """A conversation whose last turn is the user's, ready to be answered.

        Raises InputError where it does not fit the template or the language model's context.
        """
        ids = self.prompter.prompt(conversation, self.template)
        room = self._context()
        if room is not None and len(ids) >= room:
            raise InputError(
                f"The conversation has {len(ids)} ids ({len(conversation.images)} images of "
                f"{self.prompter.image_tokens}), and the language model sees {room}. "
                "Ask about fewer images, or start afresh (/reset)."
            )
        images = conversation.images
        pixels, keys = tuple(map(self.pixels, images)), tuple(map(image_key, images))
        return batching.Sequence(ids, [IGNORE] * len(ids), pixels, keys)

    def generate(
        self, conversations: Sequence[Conversation], options: Options, batch_size: int = 8
    ) -> list[Answer]:
        """An answer to each conversation, in order; those of similar length are answered together."""
        return self.answer([self.prepare(c) for c in conversations], options, batch_size)

    def answer(
        self, prompts: Sequence[batching.Sequence], options: Options, batch_size: int = 8
    ) -> list[Answer]:
        """The same for conversations that `prepare` has made ready."""
        return answer_all(
            self,
            prompts,
            partial(self.transcripts, options),
            partial(self._speak, options),
            batch_size,
        )

    def stream(self, conversation: Conversation, options: Options) -> Iterator[str]:
        """The answer piece by piece; the pieces join to the text that `generate` gives."""
        prompt = self.prepare(conversation)
        yield from stream_one(
            self, prompt, partial(self.transcripts, options), partial(self._speak, options)
        )

    @property
    def joinable(self) -> bool:
        """Whether answers can be written side by side, each joining and leaving between words (`begin`)."""
        return type(self)._speak is Spliced._speak and bool(self.language.joinable)

    @property
    def begins_alike(self) -> bool:
        """Whether prompts that begin with the same ids and pictures may share what was read of them."""
        return type(self)._reading is Spliced._reading

    def begin(
        self,
        prompts: Sequence[batching.Sequence],
        cache: Any,
        images_IMD: Tensor | None,
        known: int = 0,
    ) -> Tensor:
        """Read prompts of one length, save their first `known` ids, which `cache` holds; scores BV of the first words.

        `images_IMD`: what the pictures behind those ids became (`images`).
        """
        ids_BT = torch.tensor([prompt.ids[known:] for prompt in prompts], device=self.device)
        with self._reading(prompts):
            found: Tensor = self.language.read(self.embed(ids_BT, images_IMD), cache)
        return found

    def transcripts(
        self, options: Options, prompts: Sequence[batching.Sequence]
    ) -> list[Transcript]:
        stop = self.prompter.stop(self.template)
        room = self._context()
        return [
            Transcript(
                self.tokenizer,
                stop.ids,
                (*stop.strings, *options.stop),
                options.max_tokens if room is None else min(options.max_tokens, room - len(p.ids)),
            )
            for p in prompts
        ]

    def _speak(
        self, options: Options, prompts: Sequence[batching.Sequence], said: Sequence[Transcript]
    ) -> Iterator[tuple[int, int]]:
        pixels = [chw for prompt in prompts for chw in prompt.pixels]
        images_IMD = None
        if pixels:
            images_IMD = self.images(self.tower(torch.stack(pixels).to(self.device)))
        rows, shown = [], 0
        for prompt in prompts:
            own = None if images_IMD is None else images_IMD[shown : shown + len(prompt.pixels)]
            shown += len(prompt.pixels)
            rows.append(self.embed(torch.tensor([prompt.ids], device=self.device), own)[0])
        steps = self.language.generate(
            rows,
            lambda row, token: said[row].add(token),
            temperature=options.temperature,
            top_p=options.top_p,
            seed=options.seed,
        )
        with self._reading(prompts):  # whole prompts pass before the first word
            first = next(steps, None)
        if first is not None:
            yield first
            yield from steps

    def _reading(self, prompts: Sequence[batching.Sequence]) -> AbstractContextManager[None]:
        """Lasts while the prompts pass through the language model, with padding on the left; not while it writes."""
        return nullcontext()

    def _context(self) -> int | None:
        found = getattr(self.language.config, "max_position_embeddings", None)
        return None if found is None else int(found)
