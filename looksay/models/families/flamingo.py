"""Flamingo (arXiv 2204.14198) and OpenFlamingo (2308.01390): a frozen language model whose words look at pictures
through gated cross-attention, and therefore reads any number of them between its words.

A picture is one id of the text. What the tower sees of it, a resampler makes into a few vectors; blocks of
cross-attention before those of the language model let the words that follow look at them.

Shapes: B rows, T ids in a row, I images, M embeddings per image, D width, K marks.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import groupby
from typing import Any, cast

import torch
from torch import Tensor, nn

from looksay.errors import InputError
from looksay.models import batching
from looksay.models.batching import IGNORE, Batch
from looksay.models.connectors import Resampler
from looksay.models.decoding import Transcript
from looksay.models.gated import Gates, Marks, Sight, decoder_blocks, every, look
from looksay.models.language import Language
from looksay.models.prompting import Prompter, add_image_token, image_key
from looksay.models.spliced import Spliced
from looksay.models.vision import TransformersTower
from looksay.types import Conversation, Example, Image, Options

CHUNK = "<|endofchunk|>"
"""Ends the words that belong to a picture (OpenFlamingo)."""


class Flamingo(Spliced):
    """tower → resampler; gated blocks between those of the language model, which stays as it was released.

    An example without any picture is the language model's alone: nothing that is trained here touches it.
    (The papers' gated feed-forwards would; so text is as good as before, and where a picture comes later
    in the example they do.) Pictures side by side are the frames of one clip where the resampler tells
    `frames` apart, else each is a picture by itself.
    """

    family = "flamingo"

    def __init__(
        self,
        tower: Any,
        connector: Any,
        gates: Gates,
        marks: Marks,
        language: Language,
        tokenizer: Any,
        template: str | None = None,
        image_token: str = "<image>",
    ) -> None:
        # That of `Spliced` wants a connector as wide as words.
        nn.Module.__init__(self)
        self.tower, self.connector, self.gates, self.marks = tower, connector, gates, marks
        self.language = language
        self.template, self.image_token = template, image_token
        self.prompter = Prompter(tokenizer, 1, image_token)
        self._chunk_id: int | None = tokenizer.get_vocab().get(CHUNK)
        self.mark_ids = [self.prompter.image_id]
        if self._chunk_id is not None:
            self.mark_ids.append(self._chunk_id)
        self._sight: Sight | None = None
        blocks = decoder_blocks(language)
        self._check(len(blocks))
        for number, place in enumerate(gates.places):
            # A hook leaves names and weights of the language model as released, and another model
            # over the same one undisturbed: without sight it does nothing.
            blocks[place].register_forward_pre_hook(partial(self._before, number), with_kwargs=True)

    @property
    def parts(self) -> dict[str, nn.Module]:
        """What a stage can train, by name. OpenFlamingo trains connector, gates and marks."""
        return {
            "tower": self.tower,
            "connector": self.connector,
            "gates": self.gates,
            "marks": self.marks,
            "language": self.language,
        }

    def _check(self, layers: int) -> None:
        for what, found, wanted, of in (
            ("tower's features", self.tower.width, self.connector.width_in, "connector"),
            ("connector's vectors", self.connector.width_out, self.gates.width_in, "gates"),
            ("language model's embeddings", self.language.width, self.gates.width, "gates"),
            ("language model's embeddings", self.language.width, self.marks.width, "marks"),
        ):
            if found != wanted:
                raise InputError(f"The {what} are {found} wide, but the {of} expect {wanted}.")
        if self.marks.count != len(self.mark_ids):
            raise InputError(
                f"The marks are {self.marks.count}, but the tokenizer has {len(self.mark_ids)} of "
                f"{self.image_token} and {CHUNK}. Build them as count={len(self.mark_ids)}."
            )
        beyond = [place for place in self.gates.places if not 0 <= place < layers]
        if beyond:
            raise InputError(
                f"The gates stand before block {beyond[0]} of the language model, which has the blocks 0 to "
                f"{layers - 1}. Build them with places=every(1, {layers})."
            )

    # -- learning

    def encode(
        self,
        example: Example,
        template: str | None = None,
        objectives: Collection[str] = ("lm",),
    ) -> batching.Sequence:
        """As `Spliced.encode`; of what is said, only that is learned which belongs to a picture
        (`chunk_labels`)."""
        conversation, clips = self._clips(example.conversation)
        found = super().encode(replace(example, conversation=conversation), template, objectives)
        labels = chunk_labels(found.ids, found.labels, self.prompter.image_id, self._chunk_id)
        return self._with_frames(replace(found, labels=labels), clips)

    def hidden(self, batch: Batch) -> Tensor:
        """What the output layer reads, BTD; `language.logits` makes scores of it."""
        images_IMD = self._images(batch)
        embeds_BTD = self.embed(batch.ids_BT)
        sight = None
        if images_IMD is not None:
            sight = look(batch.ids_BT, batch.segments_BT, images_IMD, self.prompter.image_id)
        elif torch.is_grad_enabled():
            embeds_BTD = embeds_BTD + self._idle()
        with self._looking(sight):
            return self.language.hidden(
                embeds_BTD, batch.segments_BT, batch.positions_BT, batch.labels_BT, rows=True
            )

    def embed(self, ids_BT: Tensor, images_IMD: Tensor | None = None) -> Tensor:
        """Embeddings BTD of a text. Images are not among them: words look at those."""
        marks_KBT = [ids_BT == mark for mark in self.mark_ids]
        words_BT = ids_BT.masked_fill(torch.stack(marks_KBT).any(0), 0)
        embeds_BTD = self.language.embed(words_BT)
        for here_BT, row_D in zip(marks_KBT, self.marks.rows_KD, strict=True):
            embeds_BTD = torch.where(here_BT[..., None], row_D.to(embeds_BTD.dtype), embeds_BTD)
        return embeds_BTD

    def _images(self, batch: Batch) -> Tensor | None:
        features_IND = self._features(batch)
        if features_IND is None:
            return None
        # Clips only where the resampler knows of time.
        frames = {"frames_V": batch.targets["frames"]} if "frames" in batch.targets else {}
        return cast(Tensor, self.connector(features_IND, **frames))

    @contextmanager
    def _looking(self, sight: Sight | None) -> Iterator[None]:
        """While it lasts the language model's words look."""
        self._sight = sight
        try:
            yield
        finally:
            self._sight = None

    def _before(
        self, number: int, block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        """Before a block of the language model: the gated one."""
        if self._sight is None:
            return None
        gated = self.gates.blocks[number]
        if args:
            return (gated(args[0], *self._sight), *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": gated(kwargs["hidden_states"], *self._sight)}

    def _clips(self, conversation: Conversation) -> tuple[Conversation, list[list[Image]]]:
        """The conversation with one picture for each clip, and the frames of each."""
        if getattr(self.connector, "frames", 0) < 2:
            return conversation, []
        messages, clips = [], []
        for message in conversation.messages:
            parts: list[str | Image] = []
            for pictured, run in groupby(message.parts, lambda part: isinstance(part, Image)):
                same = list(run)
                if pictured:
                    clips.append([part for part in same if isinstance(part, Image)])
                parts += same[:1] if pictured else same
            messages.append(replace(message, parts=tuple(parts)))
        return replace(conversation, messages=tuple(messages)), clips

    def _with_frames(self, found: batching.Sequence, clips: list[list[Image]]) -> batching.Sequence:
        if not clips:
            return found
        frames = [image for clip in clips for image in clip]
        return replace(
            found,
            pixels=tuple(self.pixels(image) for image in frames),
            keys=tuple(image_key(image) for image in frames),
            targets={**found.targets, "frames": torch.tensor([len(clip) for clip in clips])},
        )

    # -- answering

    def prepare(self, conversation: Conversation) -> batching.Sequence:
        """As `Spliced.prepare`."""
        conversation, clips = self._clips(conversation)
        return self._with_frames(super().prepare(conversation), clips)

    def transcripts(
        self, options: Options, prompts: Sequence[batching.Sequence]
    ) -> list[Transcript]:
        said = super().transcripts(options, prompts)
        for one in said:
            # Showing a picture is not for it to do: with one it begins the next chunk.
            one.stop_ids |= {self.prompter.image_id}
        return said

    def _speak(
        self, options: Options, prompts: Sequence[batching.Sequence], said: Sequence[Transcript]
    ) -> Iterator[tuple[int, int]]:
        # Words stand at the right, as the language model lays them out.
        batch = batching.pad(prompts, side="left").to(self.device)
        images_IMD = self._images(batch)
        sight = after = None
        if images_IMD is not None:
            sight = look(batch.ids_BT, batch.segments_BT, images_IMD, self.prompter.image_id)
            after = sight
        embeds_BTD = self.embed(batch.ids_BT)
        steps = self.language.generate(
            [row[-len(p.ids) :] for row, p in zip(embeds_BTD, prompts, strict=True)],
            lambda row, token: said[row].add(token),
            temperature=options.temperature,
            top_p=options.top_p,
            seed=options.seed,
        )
        rows = list(range(len(prompts)))
        while rows:
            for _ in rows:
                # Only while it works: between two words others may ask the same model.
                with self._looking(sight):
                    step = next(steps)
                yield step
            rows = [row for row in rows if said[row].reason is None]
            if after is not None:
                sight = after.next(torch.tensor(rows, device=self.device, dtype=torch.long))


def chunk_labels(
    ids: Sequence[int], labels: Sequence[int], image_id: int, chunk_id: int | None
) -> list[int]:
    """The labels of what belongs to a picture: nothing before the first one, no picture itself, nothing
    between the end of a chunk (its end is learned) and the next picture. A text without pictures is left
    as it is.

    OpenFlamingo's rule (train_utils.py): words that look at nothing, or at the picture of another chunk,
    would teach the gates to be closed (open_flamingo issue 221).
    """
    if image_id not in ids:
        return list(labels)
    kept, belongs = [], False
    for token, label in zip(ids, labels, strict=True):
        belongs = belongs or token == image_id
        kept.append(label if belongs and token != image_id else IGNORE)
        belongs = belongs and token != chunk_id
    return kept


def build(parts: Mapping[str, Any], tokenizer: Any, **arguments: Any) -> Flamingo:
    """The family from its parts, as a checkpoint names them."""
    return Flamingo(
        parts["tower"],
        parts["connector"],
        parts["gates"],
        parts["marks"],
        parts["language"],
        tokenizer,
        **arguments,
    )


def openflamingo_3b(
    tower: str = "openai/clip-vit-large-patch14",
    language: str = "anas-awadalla/mpt-1b-redpajama-200b",
    dtype: str = "auto",
) -> Flamingo:
    """OpenFlamingo-3B before training: 24 layers of 2,048, a gated block before each.

    Its MPT-1B comes with code of its own, which transformers 5 does not run: name another language model.
    """
    return _open(tower, language, dtype, interval=1)


def openflamingo_4b(
    tower: str = "openai/clip-vit-large-patch14",
    language: str = "togethercomputer/RedPajama-INCITE-Base-3B-v1",
    dtype: str = "auto",
) -> Flamingo:
    """OpenFlamingo-4B before training: RedPajama-3B, a gated block before every second layer."""
    return _open(tower, language, dtype, interval=2)


def openflamingo_9b(
    tower: str = "openai/clip-vit-large-patch14",
    language: str = "mosaicml/mpt-7b",
    dtype: str = "auto",
) -> Flamingo:
    """OpenFlamingo-9B before training: MPT-7B, a gated block before every fourth layer."""
    return _open(tower, language, dtype, interval=4)


def flamingo_3b(
    tower: str = "openai/clip-vit-large-patch14",
    language: str = "facebook/opt-1.3b",
    dtype: str = "auto",
) -> Flamingo:
    """The paper's joints for 3B. Its NFNet and Chinchilla are not released: a CLIP, and an OPT of the same
    24 layers of 2,048, stand in their place."""
    return _paper(tower, language, dtype, interval=1)


def flamingo_9b(
    tower: str = "openai/clip-vit-large-patch14",
    language: str = "facebook/opt-6.7b",
    dtype: str = "auto",
) -> Flamingo:
    """The paper's joints for 9B, as `flamingo_3b`: OPT-6.7B has 32 layers of 4,096 where the paper's had 40."""
    return _paper(tower, language, dtype, interval=4)


def flamingo_80b(
    tower: str = "openai/clip-vit-large-patch14",
    language: str = "meta-llama/Llama-2-70b-hf",
    dtype: str = "auto",
) -> Flamingo:
    """The paper's joints for 80B, as `flamingo_3b`: Llama-2-70B has the same 80 layers of 8,192."""
    return _paper(tower, language, dtype, interval=7)


def _open(tower: str, language: str, dtype: str, interval: int) -> Flamingo:
    # open_clip gives the last block's patches without the norm that only the class token goes through.
    seeing = TransformersTower.from_folder(tower, layer=-1, drop_cls=True, fit="crop")
    speaking, tokenizer = _speaker(language, dtype)
    return build(joined(seeing, speaking, interval), tokenizer, template="flamingo")


def _paper(tower: str, language: str, dtype: str, interval: int) -> Flamingo:
    seeing = TransformersTower.from_folder(tower, layer=-1, drop_cls=True, fit="stretch")
    speaking, tokenizer = _speaker(language, dtype)
    parts = joined(seeing, speaking, interval, as_paper=True)
    return build(parts, tokenizer, template="flamingo")


def joined(tower: Any, language: Any, interval: int, as_paper: bool = False) -> dict[str, Any]:
    """The parts by name, the new ones between tower and language model as OpenFlamingo has them, or as the
    paper (appendix A.1 and table 6): a resampler of width 1,536 with times for 8 frames, heads of 128,
    squared ReLU, the first gated block before block 0."""
    layers = int(language.config.num_hidden_layers)
    width = language.width
    if as_paper:
        connector = Resampler(
            tower.width,
            1536,
            heads=16,
            width=1536,
            frames=8,
            activation="relu2",
            projects=False,
        )
        places = every(interval, layers, first=0)
        gates = Gates(width, 1536, places, width // 128, head_width=128, activation="relu2")
    else:
        connector = Resampler(tower.width, tower.width, head_width=64, projects=False)
        gates = Gates(width, tower.width, every(interval, layers))
    marks = Marks(width, 2)
    return {
        "tower": tower,
        "connector": connector,
        "gates": gates,
        "marks": marks,
        "language": language,
    }


def _speaker(language: str, dtype: str) -> tuple[Language, Any]:
    """A released language model with rows for the two marks, and its tokenizer."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(language)
    add_image_token(tokenizer, CHUNK)
    add_image_token(tokenizer)
    if tokenizer.pad_token is None:
        tokenizer.add_special_tokens({"pad_token": "<PAD>"})
    speaking = Language.from_folder(language, dtype=dtype)
    if len(tokenizer) > len(speaking.head[0]):
        # Not the mean of all rows, transformers' own choice: it can never score best, so no chunk would end.
        speaking.model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    return speaking, tokenizer
