"""Experts find one kind of thing in a picture (segments, objects, relations, text) and say how sure they are; beside
them stand small measures (faces, colours, kind of picture). No torch, but inside what loads a neural expert.

An expert is a module here, found by its name and imported only when used, with `ABOUT: str` (one line),
`lacking() -> str` (what to type before it can be used, "" where nothing is in the way) and
`load(model, options) -> Expert`; `looksay.experts.loading.load("name:model")` gives one. A module imports its
libraries when it is imported or loads.
"""

MACHINERY = frozenset(
    {"appearance", "base", "boxes", "cache", "exif", "faces", "kind", "loading", "maps"}
    | {"overlay", "records", "verbalise"}
)
