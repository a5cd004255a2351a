"""MiniGPT-4 (arXiv 2304.10592): BLIP-2's tower and Q-Former and a language model that chats, all frozen, and one
matrix between them: first on captions without a prompt, then on a few thousand curated descriptions in a chat."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from looksay.errors import InputError
from looksay.models import batching, checkpoint, representing
from looksay.models.batching import Batch
from looksay.models.connectors import Joined, Linear
from looksay.models.families import llava
from looksay.models.language import Language
from looksay.models.pairs import one_per_row
from looksay.models.qformer import QFormer, QFormerText
from looksay.models.spliced import Spliced
from looksay.types import Example

CHAT = "minigpt4"
"""The prompt form of a chat; the pairs of the second stage have "minigpt4_pairs", without its system text."""


class MiniGpt4(Spliced):
    """tower → Q-Former → matrix → language model; without a Q-Former the matrix reads neighbouring patches.

    `text` is the Q-Former's side of words, for models that learn BLIP-2's first stage themselves.
    """

    family = "minigpt4"

    def __init__(
        self,
        tower: Any,
        connector: Any,
        language: Language,
        tokenizer: Any,
        template: str | None = CHAT,
        image_token: str = "<image>",
        qformer: QFormer | None = None,
        text: QFormerText | None = None,
    ) -> None:
        super().__init__(tower, connector, language, tokenizer, template, image_token, qformer)
        self.text = text

    @property
    def parts(self) -> dict[str, nn.Module]:
        *others, language = super().parts.items()
        return dict([*others, *([] if self.text is None else [("text", self.text)]), language])

    def encode(
        self,
        example: Example,
        template: str | None = None,
        objectives: Collection[str] = ("lm",),
    ) -> batching.Sequence:
        """As `Spliced`; for objectives of BLIP-2's first stage a picture and its caption."""
        if not representing.alone(objectives):
            return super().encode(example, template, objectives)
        return representing.encode(example, self._side()[1], self.pixels)

    def forward(self, batch: Batch, objectives: Collection[str] = ("lm",)) -> dict[str, Tensor]:
        """Mean losses by objective."""
        if not representing.alone(objectives):
            return super().forward(batch, objectives)
        pairs = one_per_row(batch)
        features_BND = self._features(pairs)
        assert features_BND is not None
        return representing.losses(*self._side(), features_BND, pairs, objectives)

    def _side(self) -> tuple[QFormer, QFormerText]:
        if self.qformer is None or self.text is None:
            raise InputError(
                "This MiniGPT-4 has no Q-Former that could learn beside words. Take one that is trained "
                "(looksay train blip2), or the recipe for scenes."
            )
        return self.qformer, self.text


def build(parts: dict[str, Any], tokenizer: Any, **arguments: Any) -> MiniGpt4:
    """The family from its parts, as a checkpoint names them."""
    return MiniGpt4(
        parts["tower"],
        parts["connector"],
        parts["language"],
        tokenizer,
        qformer=parts.get("qformer"),
        text=parts.get("text"),
        **arguments,
    )


def load_projector(model: MiniGpt4, path: Path | str, language: str | None = None) -> None:
    """The matrix as the original repository saves it: {"model": {"llama_proj.weight", "llama_proj.bias"}}.

    Such a file does not say which language model it was trained for, and one trained for another loads without
    complaint and answers nonsense (Vision-CAIR/MiniGPT-4 issue 417). `language` is the fingerprint of the right
    one, as `model.language.fingerprint` gave it where the answers were good. Raises WrongPart where this model's
    is another, InputError where the file holds no such matrix or one of another shape.
    """
    ours = model.language.fingerprint
    if language is not None and language != ours:
        raise checkpoint.WrongPart(
            f"{path} was trained for a language model with fingerprint {language}; this model's has {ours}. Load "
            "the language model that it was trained for (the first release: Vicuna v0, not v1.1 or v1.5)."
        )
    state = checkpoint.read_saved(path)
    own = {
        name.partition("llama_proj.")[2]: value
        for name, value in state.items()
        if "llama_proj." in name
    }
    wanted = {name: tuple(value.shape) for name, value in _matrix(model).state_dict().items()}
    there = {name: tuple(value.shape) for name, value in own.items()}
    if there != wanted:
        raise InputError(
            f"{path} holds the matrix {there or 'of nothing'}; this model's is {wanted}. A file for Vicuna 13B is "
            "5120 wide, one for 7B 4096; without a Q-Former it reads 5632, with one 768."
        )
    _matrix(model).load_state_dict(own)


def _matrix(model: MiniGpt4) -> nn.Module:
    if not isinstance(model.connector, Linear | Joined):
        raise InputError(
            f"Released files hold one matrix; this model's connector is {type(model.connector).__name__}."
        )
    return model.connector.linear


def vicuna_7b(
    blip2: str = "Salesforce/blip2-flan-t5-xxl",
    language: str = "lmsys/vicuna-7b-v1.1",
    dtype: str = "auto",
) -> MiniGpt4:
    """MiniGPT-4 before training: EVA's ViT-g and the Q-Former of BLIP-2 with FLAN-T5 XXL. The paper's Vicuna is v0,
    which was released as a difference to LLaMA: name its merged folder as `language`."""
    from looksay.models.families import _blip2_layouts

    seeing = _blip2_layouts.tower_of(blip2)
    qformer = _blip2_layouts.qformer_of(blip2)
    speaking, tokenizer = llava.speaker(language, dtype)
    connector = Linear(qformer.width, speaking.width)
    return MiniGpt4(seeing, connector, speaking, tokenizer, CHAT, qformer=qformer)


def vicuna_13b(
    blip2: str = "Salesforce/blip2-flan-t5-xxl",
    language: str = "lmsys/vicuna-13b-v1.1",
    dtype: str = "auto",
) -> MiniGpt4:
    """MiniGPT-4 with the larger Vicuna, the paper's own size."""
    return vicuna_7b(blip2, language, dtype)
