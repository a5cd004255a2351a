"""A small world with exact truth: pictures of emoji, and everything that is true of them (docs/scenes.md)."""

from looksay.data.scenes.asking import TYPES, Question, choices, questions
from looksay.data.scenes.telling import captions, description, listing
from looksay.data.scenes.world import SCENES_VERSION, Group, Relation, Scene, Scenes, Sign, Thing

__all__ = [
    "SCENES_VERSION",
    "TYPES",
    "Group",
    "Question",
    "Relation",
    "Scene",
    "Scenes",
    "Sign",
    "Thing",
    "captions",
    "choices",
    "description",
    "listing",
    "questions",
]
