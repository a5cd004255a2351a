"""What can be truly said of a scene: captions, a detailed description, and a list for models without eyes."""

from __future__ import annotations

from collections.abc import Sequence

from looksay.data.scenes.world import Group, Relation, Scene

NUMBERS = ("zero", "one", "two", "three", "four", "five")
CELLS = 16
"""The listing gives places on a grid of so many columns and rows."""


def counted(group: Group, *, size: bool = True) -> str:
    """ "three small dogs" """
    words = [NUMBERS[group.count], *([group.size] if size else []), group.name]
    return " ".join(words)


def article(noun: str) -> str:
    """ "a dog", "an owl" """
    return f"{'an' if noun[0] in 'aeio' or noun.startswith('um') else 'a'} {noun}"


def joined(parts: Sequence[str]) -> str:
    """ "a, b and c" """
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def spelled(word: str) -> str:
    """The word of a sign, character by character: "H E L L O"."""
    return " ".join(word)


def where(scene: Scene) -> str:
    return f"on a {scene.pattern} {scene.colour} background"


def related(scene: Scene, relation: Relation) -> str:
    """ "The dogs are left of the pizza." """
    a, b = scene.groups[relation.a], scene.groups[relation.b]
    verb = "is" if a.count == 1 else "are"
    return f"The {a.name} {verb} {relation.side} the {b.name}."


def told_relations(scene: Scene) -> list[Relation]:
    """What a description says of how each group lies to the next."""
    found = []
    for a in range(len(scene.groups) - 1):
        relation = scene.main_relation(a, a + 1)
        if relation is None or relation.side != "on":
            back = scene.main_relation(a + 1, a)
            relation = back if back and back.side == "on" else relation
        if relation:
            found.append(relation)
    return found


def captioned_relation(scene: Scene) -> Relation | None:
    """The relation that a caption tells: of what stands on something, else of the first two groups."""
    standing = next((r for r in scene.relations if r.side == "on"), None)
    return standing or (scene.main_relation(0, 1) if len(scene.groups) > 1 else None)


def description(scene: Scene) -> str:
    """Everything, in a fixed order: groups with counts and sizes, background, how each group lies to the
    next (where it lies in any way), the sign."""
    groups = scene.groups
    verb = "is" if groups[0].count == 1 else "are"
    sentences = [f"There {verb} {joined([counted(g) for g in groups])} {where(scene)}."]
    sentences += [related(scene, relation) for relation in told_relations(scene)]
    if scene.sign:
        sentences.append(f"A {scene.sign.colour} sign says {spelled(scene.sign.word)}.")
    return " ".join(sentences)


def captions(scene: Scene) -> list[str]:
    """Five short captions, each true and each worded differently."""
    groups = scene.groups
    plain = [
        article(g.noun.name) if g.count == 1 else f"{NUMBERS[g.count]} {g.name}" for g in groups
    ]
    found = [
        f"{joined([counted(g) for g in groups])} {where(scene)}.",
        f"a picture of {joined(plain)}.",
        f"a {scene.colour} background with {joined([counted(g) for g in groups])}.",
    ]
    relation = captioned_relation(scene)
    if relation:
        found.append(f"{plain[relation.a]} {relation.side} {plain[relation.b]}.")
    else:
        total = sum(g.count for g in groups)
        noun = "object" if total == 1 else "objects"
        found.append(f"{NUMBERS[total]} {noun}: {joined(plain)}.")
    if scene.sign:
        sign = f"a {scene.sign.colour} sign that says {spelled(scene.sign.word)}"
        found.append(f"{joined([*plain, sign])}.")
    else:
        found.append(f"{joined([counted(g, size=False) for g in reversed(groups)])}, no sign.")
    return [text[0].upper() + text[1:] for text in found]


def listing(scene: Scene) -> str:
    """The scene as a list, for a language model alone: each object with size, name, column and row
    (of 16), in reading order; then the background, then the sign. A language model that cannot describe
    from this list cannot describe from a picture either (the *text-only oracle*)."""
    cell = scene.size_px / CELLS
    items = [
        f"{scene.groups[t.group].size} {scene.groups[t.group].noun.name} at"
        f" {int(t.box.centre[0] / cell)} {int(t.box.centre[1] / cell)}"
        for t in scene.things
    ]
    items.append(f"{scene.pattern} {scene.colour} background")
    if scene.sign:
        items.append(f"{scene.sign.colour} sign {spelled(scene.sign.word)}")
    return ", ".join(items)
