"""What stands in claims where published systems download parts: one tower and one language model, or one LLaVA that
talks, whatever the family and the seed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from looksay.models.families.llava import Llava
    from looksay.models.language import Language
    from looksay.models.small_tower import SmallTower
    from looksay.training.stages import Stage

ALONE = frozenset({"tower", "language"})
"""Their stages (`base.Arm.alone`): the tower learns from pictures without words, the language model from words
without pictures."""


class Released(NamedTuple):
    """The parts, and the stages that make them; the tower of the size mini needs none, for it ships."""

    tower: SmallTower
    tower_stages: list[Stage]
    language: Language
    language_stages: list[Stage]
    tokenizer: Any


def parts(size: str) -> Released:
    """Of that size, new: what `looksay.claims.llava` begins with, so that all families share what it trained."""
    from looksay.training.recipes import _small, llava

    first, stages = llava.scenes(size, 0)
    tower = _small.seeing(size)
    made = {stage.name: stage for stage in stages}
    before = [] if size == "mini" else [made["tower"]]
    return Released(tower, before, first.language, [made["language"]], first.tokenizer)


def talking(size: str) -> tuple[Llava, list[Stage]]:
    """A LLaVA-1.5 that talks about pictures, and the stages that make it: of the size mini the one that ships, which
    needs none; of any other size a new one over `parts`."""
    import torch

    from looksay.models import checkpoint
    from looksay.models.connectors import MLP
    from looksay.models.families.llava import Llava
    from looksay.models.small_tower import PLACE_WIDTH
    from looksay.training.recipes import _small, llava

    if size == "mini":
        return checkpoint.load(checkpoint.SHIPPED, dtype=torch.float32), []
    found = parts(size)
    torch.manual_seed(0)
    connector = MLP(found.tower.width, found.language.width, place=PLACE_WIDTH)
    model = Llava(found.tower, connector, found.language, found.tokenizer)
    joining = llava.joining(0, **_small.SHOWN)
    return model, [*found.tower_stages, *found.language_stages, *joining]
