"""LLaVA-1.5 (arXiv 2310.03744): two layers between tower and language model, a better mixture, larger pictures."""

from __future__ import annotations

from looksay.models.connectors import MLP
from looksay.models.families.llava import Llava
from looksay.training.recipes import llava
from looksay.training.stages import Stage


def scenes(size: str = "mini", seed: int = 0) -> tuple[Llava, list[Stage]]:
    """The recipe of `llava` for scenes, with the connector of LLaVA-1.5."""
    return llava.scenes(size, seed, connector=MLP)
