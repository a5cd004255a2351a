"""Which scene stands at which number of a source that talks about scenes."""

from __future__ import annotations

from typing import NamedTuple, TypedDict, Unpack, cast

from looksay.data.dataset import Rounds
from looksay.data.scenes import SCENES_VERSION, Scene, Scenes

POOL = 10_000
"""Seed of the scenes that come again; recipes take small ones."""


class Look(TypedDict, total=False):
    """What training may change about scenes, and no figure does."""

    sign_share: float
    """Of the scenes with a sign."""
    invented: float
    """Share of signs whose word is made-up letters."""
    alike: int
    """So many in a row have one background."""


class Curriculum(Look, total=False):
    """And about how often each is shown."""

    pictures: int
    """So many and no more are shown, again and again, in another order and in other words each time: what a resting
    tower sees in them need not be computed twice. They are the same whatever the seed, and fill runs of `alike`."""


class Drawn(NamedTuple):
    """Scenes by number, endless."""

    scenes: Scenes
    rounds: Rounds | None = None
    words: str = ""
    """What the words are drawn by, beside the scene; differs from seed to seed where scenes do not."""

    def at(self, index: int) -> tuple[Scene, str]:
        """The scene, and what its words are drawn by beside it."""
        if self.rounds is None:
            return self.scenes.scene(index), ""
        turn, number = self.rounds.place(index)
        return self.scenes.scene(number), f"{self.words}, round {turn}"

    @property
    def settings(self) -> str:
        """All that it depends on."""
        return f"{SCENES_VERSION} {self.scenes.settings}{self.words}"


def draw(seed: int, split: str, size_px: int, **curriculum: Unpack[Curriculum]) -> Drawn:
    """Raises InputError as `Scenes`, and where pictures do not fill runs."""
    pictures = curriculum.get("pictures")
    look = cast(Look, {key: value for key, value in curriculum.items() if key != "pictures"})
    if pictures is None:
        return Drawn(Scenes(seed, split, size_px, **look))
    rounds = Rounds(pictures, seed, look.get("alike", 1))
    words = f", of {pictures} for seed {seed}"
    return Drawn(Scenes(POOL, split, size_px, **look), rounds, words)
