"""CoLLaVO (arXiv 2402.11248): LLaVA with a crayon. A panoptic expert says what lies where in a picture; that stands
in the text as a sentence, and is drawn on the picture's places in every attention of the language model.

Shapes: B rows, T ids in a row, I images, M embeddings per image, E examples, D width.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from looksay.errors import InputError, UnknownName
from looksay.experts import verbalise
from looksay.experts.base import found_in
from looksay.models import batching
from looksay.models.adapters import Taught, injected
from looksay.models.batching import Batch
from looksay.models.connectors import MLP
from looksay.models.crayon import Crayon, Drawing, Hand
from looksay.models.families import llava
from looksay.models.gated import decoder_blocks
from looksay.models.language import Language
from looksay.models.preference import PREFERENCE
from looksay.models.splice import splice
from looksay.models.spliced import Spliced
from looksay.models.vision import Fit, TransformersTower, new_model
from looksay.types import Conversation, Example, Message

SKILLS = ("image", "talk")
"""What an example teaches, and the names of the two adapters of the second step (Dual QLoRA): "image" for crayon
instructions (their `truth` has it as "skill"), "talk" for all else."""
CHAT = (
    "{% for m in messages %}"
    "{% for p in m['content'] if p['type'] == 'image' %}<image> {% endfor %}"
    "{{ {'system': '', 'user': 'User: ', 'assistant': 'Assistant: '}[m['role']] }}"
    "{% for p in m['content'] if p['type'] == 'text' %}{{ p['text'] }}"
    "{% if not loop.last %}\n{% endif %}{% endfor %}"
    "{{ eos_token if m['role'] == 'assistant' else ' ' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}"
)
"""The paper's form, "<image> User: … Assistant: …" and the end token, as a tokenizer's chat template."""


class Collavo(Spliced):
    """tower → connector → language model, with a crayon.

    What experts found comes with the picture (`Image.findings`); a picture without findings is unknown everywhere,
    and the sentence says so. `crayon` None draws nothing, and without `tells` there is no sentence (ablations).
    Crayon instructions have no sentence either: it is what they ask for.
    """

    family = "collavo"

    def __init__(
        self,
        tower: Any,
        connector: Any,
        language: Language,
        tokenizer: Any,
        template: str | None = None,
        image_token: str = "<image>",
        crayon: Crayon | None = None,
        tells: bool = True,
    ) -> None:
        super().__init__(tower, connector, language, tokenizer, template, image_token)
        self.crayon, self.tells = crayon, tells
        if crayon is not None and crayon.width_out != language.width:
            raise InputError(
                f"The language model's embeddings are {language.width} wide, but the crayon gives "
                f"{crayon.width_out}. Build it as width_out={language.width}."
            )
        tokens = self.prompter.image_tokens
        if crayon is not None and math.isqrt(tokens) ** 2 != tokens:
            raise InputError(
                f"A crayon draws on a square of image tokens; this tower and connector give {tokens}. Leave the "
                "class token out (drop_cls=True), and take a connector that keeps places (Linear, MLP)."
            )
        self._hand = Hand(language, decoder_blocks(language))

    @property
    def parts(self) -> dict[str, nn.Module]:
        """What a stage can train, by name."""
        *others, language = super().parts.items()
        return dict(
            [*others, *([] if self.crayon is None else [("crayon", self.crayon)]), language]
        )

    @property
    def arguments(self) -> dict[str, Any]:
        return {**super().arguments, "tells": self.tells}

    # -- learning

    def encode(
        self,
        example: Example,
        template: str | None = None,
        objectives: Collection[str] = ("lm",),
    ) -> batching.Sequence:
        """As `Spliced.encode`, with the sentence of what was found, and besides in the targets: "crayon", the maps
        of its pictures (I2M), and "skill", (1,), the number in `SKILLS` of what it teaches.

        Raises InputError for findings of a picture of another size, or with a class that the crayon has not;
        UnknownName for another skill.
        """
        if not {"lm", PREFERENCE} & set(objectives):
            return super().encode(example, template, objectives)
        skill = example.truth.get("skill", "talk")
        if skill not in SKILLS:
            raise UnknownName("skill that an example of collavo teaches", str(skill), SKILLS)
        told = example.conversation if skill == "image" else self._told(example.conversation)
        found = super().encode(replace(example, conversation=told), template, objectives)
        targets = {**found.targets, "skill": torch.tensor([SKILLS.index(skill)])}
        return replace(found, targets=targets | self._cells(example.conversation))

    def hidden(self, batch: Batch) -> Tensor:
        """What the output layer reads, BTD; `language.logits` makes scores of it."""
        with self._drawing(Drawing(batch.segments_BT, self._drawn(batch), self._taught(batch))):
            return super().hidden(batch)

    def _told(self, conversation: Conversation) -> Conversation:
        """The conversation with the sentence before the words of each turn that shows a picture."""
        if not self.tells:
            return conversation
        messages = tuple(_told(m) if m.images else m for m in conversation.messages)
        return replace(conversation, messages=messages)

    def _cells(self, conversation: Conversation) -> dict[str, Tensor]:
        images = conversation.images
        if self.crayon is None or not images:
            return {}
        found = [found_in(image) for image in images]
        fit: Fit = getattr(self.tower, "fit", "stretch")
        return {"crayon": self.crayon.cells(found, self.prompter.image_tokens, fit)}

    def _drawn(self, batch: Batch) -> Tensor | None:
        """The crayon at the places of the pictures, BTD, and 0 elsewhere."""
        if self.crayon is None or (batch.pixels_ICHW is None and batch.features_IND is None):
            return None
        embeds_IMD = self.crayon(batch.targets["crayon"])
        nothing_BTD = embeds_IMD.new_zeros(*batch.ids_BT.shape, self.language.width)
        return splice(nothing_BTD, batch.ids_BT, embeds_IMD, self.prompter.image_id)

    def _taught(self, batch: Batch) -> Taught | None:
        """Where there is an adapter for each skill, which ids teach it: each those of its own examples.

        An adapter that no example of the batch teaches gets no gradient at all, as if it were frozen (section 3.3:
        one module learns and the other rests; a batch of ours may hold both kinds of examples).
        """
        if not torch.is_grad_enabled() or not set(SKILLS) <= set(injected(self.language)):
            return None
        most_B = batch.segments_BT.amax(1)
        places_BT = (most_B.cumsum(0) - most_B)[:, None] + batch.segments_BT - 1
        skills_E = batch.targets["skill"]
        skills_BT = skills_E[places_BT.clamp(min=0)]
        there = set(skills_E.tolist())
        return {n: skills_BT == k if k in there else None for k, n in enumerate(SKILLS)}

    @contextmanager
    def _drawing(self, drawing: Drawing) -> Iterator[None]:
        """While it lasts the language model's attention reads the drawing."""
        self._hand.drawing = drawing
        try:
            yield
        finally:
            self._hand.drawing = None

    # -- answering

    def prepare(self, conversation: Conversation) -> batching.Sequence:
        """As `Spliced.prepare`, with what was found in the pictures; raises InputError as `encode`. A conversation whose
        hints say "skill": "image" is a crayon instruction, which has no sentence."""
        asked = conversation.hints.get("skill") == "image"
        found = super().prepare(conversation if asked else self._told(conversation))
        return replace(found, targets=self._cells(conversation))

    @contextmanager
    def _reading(self, prompts: Sequence[batching.Sequence]) -> Iterator[None]:
        batch = batching.pad(prompts, side="left").to(self.device)
        with torch.inference_mode():
            drawing = Drawing(batch.segments_BT, self._drawn(batch))
        with self._drawing(drawing):
            yield


def _told(message: Message) -> Message:
    said = " ".join(
        verbalise.NOTHING if found is None else verbalise.crayon(found)
        for found in map(found_in, message.images)
    )
    parts = list(message.parts)
    words = next((place for place, part in enumerate(parts) if isinstance(part, str)), None)
    if words is None:
        return replace(message, parts=(*parts, said))
    parts[words] = f"{said} {parts[words]}"
    return replace(message, parts=tuple(parts))


def build(parts: Mapping[str, Any], tokenizer: Any, **arguments: Any) -> Collavo:
    """The family from its parts, as a checkpoint names them."""
    return Collavo(
        parts["tower"],
        parts["connector"],
        parts["language"],
        tokenizer,
        crayon=parts.get("crayon"),
        **arguments,
    )


def collavo_7b(
    tower: str = "openai/clip-vit-large-patch14-336",
    language: str = "internlm/internlm-7b",
    dtype: str = "auto",
) -> Collavo:
    """CoLLaVO-7B before training: CLIP at 490 px (1,225 tokens, the last block, no class token), two layers,
    tables of 134 and 21 rows with an MLP of their own.

    InternLM comes with code of its own, which transformers 5 does not run: name a folder that holds it in Llama's
    layout, or another language model. The paper's joints over LLaVA's own would have `lmsys/vicuna-7b-v1.5`.
    """
    seeing = enlarged(TransformersTower.from_folder(tower, layer=-1, fit="stretch"), 490)
    speaking, tokenizer = llava.speaker(language, dtype)
    tokenizer.chat_template = CHAT
    connector = MLP(seeing.width, speaking.width)
    crayon = Crayon(speaking.width, width=1024)
    return Collavo(seeing, connector, speaking, tokenizer, crayon=crayon)


def enlarged(tower: TransformersTower, size_px: int) -> TransformersTower:
    """The same tower for pictures of another side: its table of places is stretched (bicubic), the rows before the
    patches stay. Raises InputError for a tower without such a table."""
    state = tower.model.state_dict()
    name = next((n for n in state if n.endswith("position_embedding.weight")), None)
    if name is None:
        raise InputError(
            f"{type(tower.model).__name__} has no table of places that could be stretched to {size_px} px. "
            "Choose CLIP or SigLIP."
        )
    config = copy.deepcopy(tower.model.config)
    config.image_size = size_px
    leading_KD, grid_ND = state[name].split([tower.leading, len(state[name]) - tower.leading])
    before, after = math.isqrt(len(grid_ND)), size_px // int(config.patch_size)
    grid_1DHW = grid_ND.float().T.reshape(1, -1, before, before)
    grid_1DHW = F.interpolate(grid_1DHW, size=(after, after), mode="bicubic", align_corners=False)
    grid_ND = grid_1DHW[0].flatten(1).T.to(state[name].dtype)
    model = new_model(config).to(state[name].dtype)
    model.load_state_dict({**state, name: torch.cat([leading_KD, grid_ND])})
    arguments = {key: value for key, value in tower.arguments.items() if key != "config"}
    return TransformersTower(model, **arguments)
