"""Words of English that describe pictures: numbers, plurals, articles, and values of which one excludes another."""

from __future__ import annotations

NUMBERS = (
    "zero one two three four five six seven eight nine ten eleven twelve".split()  # noqa: SIM905
)
FAMILIES: dict[str, tuple[str, ...]] = {
    "colour": (
        *("black", "white", "grey", "red", "orange", "yellow", "green", "blue", "purple", "pink", "brown"),
        *("beige", "golden", "silver", "turquoise"),
    ),
    "size": ("small", "large"),
    "pattern": ("plain", "striped", "dotted", "checked"),
    "age": ("young", "old"),
    "length": ("long", "short"),
    "state": ("open", "closed"),
    "fill": ("empty", "full"),
    "wetness": ("wet", "dry"),
    "material": ("wooden", "metal", "stone", "plastic", "brick", "leather", "concrete", "ceramic"),
    "medium": ("photograph", "painting", "drawing", "screenshot", "illustration", "cartoon"),
    "month": (
        *("january", "february", "march", "april", "may", "june", "july", "august", "september"),
        *("october", "november", "december"),
    ),
}  # fmt: skip
"""Attributes by what they are values of. Of one thing one value of a family is true (save where it is said to have
several: black and white)."""
SYNONYMS = {
    "gray": "grey", "tiny": "small", "little": "small", "big": "large", "huge": "large", "giant": "large",
    "elderly": "old", "tan": "beige", "gold": "golden", "violet": "purple", "checkered": "checked", "wood": "wooden",
    "spotted": "dotted",
}  # fmt: skip
"""Other words for values of a family."""
OPPOSITES = {"left of": "right of", "above": "below", "in front of": "behind", "next to": "next to"}
OPPOSITES |= {other: side for side, other in OPPOSITES.items()}
"""Relations, and what they are from the other side."""

_SAME = (
    "sheep fish deer skis scissors aircraft luggage broccoli cattle clothes sunglasses jeans pants shorts stairs glasses "
    "grass series binoculars headphones sushi rice bread food snow water furniture pyjamas goggles tennis chassis iris oasis"
)
_PLURALS = {
    "person": "people", "man": "men", "woman": "women", "child": "children", "goose": "geese", "mouse": "mice",
    "foot": "feet", "tooth": "teeth", "ox": "oxen", "cactus": "cacti", "gas": "gases", "lens": "lenses",
    "snowman": "snowmen", "fireman": "firemen", "policeman": "policemen", "fisherman": "fishermen",
    "policewoman": "policewomen", "businessman": "businessmen", "knife": "knives", "leaf": "leaves", "loaf": "loaves",
    "shelf": "shelves", "bookshelf": "bookshelves", "wolf": "wolves", "calf": "calves", "wife": "wives",
    "scarf": "scarves", "life": "lives", "shoe": "shoes", "horseshoe": "horseshoes", "canoe": "canoes", "toe": "toes",
    "movie": "movies", "tie": "ties", "bowtie": "bowties", "necktie": "neckties", "ski": "skis", "pie": "pies", "cookie": "cookies", "collie": "collies",
    "selfie": "selfies", "hoodie": "hoodies", "zombie": "zombies", "brownie": "brownies", "smoothie": "smoothies",
    "axe": "axes", "moustache": "moustaches", "photo": "photos", "piano": "pianos", "avocado": "avocados",
    "burrito": "burritos", "taco": "tacos", "logo": "logos", "hippo": "hippos", "rhino": "rhinos", "flamingo": "flamingos",
    "disco": "discos", "casino": "casinos", "pinto": "pintos",
} | {same: same for same in _SAME.split()}  # fmt: skip
_SINGULARS = {plural: noun for noun, plural in _PLURALS.items() if noun != plural}
_VOWELS = "aeiou"
_AN = ("hour", "honest", "heir")
_A = ("uni", "use", "usu", "eu", "one", "once", "ufo", "ukulele", "utensil", "u-")


def article(words: str) -> str:
    """ "a dog", "an old dog", "a unicorn" """
    low = words.lower()
    vowel = (low[:1] in _VOWELS and not low.startswith(_A)) or low.startswith(_AN)
    return f"{'an' if vowel else 'a'} {words}"


def plural(noun: str) -> str:
    """Of a noun, or of the last word of several: "hot dogs".

    >>> [plural(noun) for noun in ("dog", "city", "bench", "traffic light", "tomato", "wine glass")]
    ['dogs', 'cities', 'benches', 'traffic lights', 'tomatoes', 'wine glasses']
    """
    head, space, last = noun.rpartition(" ")
    if last in _PLURALS:
        return f"{head}{space}{_PLURALS[last]}"
    if last.endswith("y") and last[-2:-1] not in _VOWELS:
        return noun[:-1] + "ies"
    hissing = last.endswith(("s", "x", "z", "ch", "sh"))
    return noun + ("es" if hissing or (last.endswith("o") and last[-2:-1] not in _VOWELS) else "s")


def singular(noun: str) -> str:
    """What a noun, or the last word of several, is the plural of; itself where it is none.

    >>> [singular(noun) for noun in ("dogs", "cities", "glass", "buses", "hot dogs", "people", "horses")]
    ['dog', 'city', 'glass', 'bus', 'hot dog', 'person', 'horse']
    """
    head, space, last = noun.rpartition(" ")
    if head and last == "glasses":  # alone they are worn as often as drunk from
        return f"{head} glass"
    return f"{head}{space}{_singular(last)}"


def is_plural(noun: str) -> bool:
    """Whether it can only be several."""
    return singular(noun) != noun


def number(words: str) -> int | None:
    """ "three" and "3" are 3; None for what is no number up to twelve, or no digits."""
    low = words.lower()
    if low in NUMBERS:
        return NUMBERS.index(low)
    return int(low) if low.isdecimal() and low.isascii() and len(low) < 5 else None


def spelled(count: int) -> str:
    """ "three", "40" """
    return NUMBERS[count] if 0 <= count < len(NUMBERS) else str(count)


def _singular(word: str) -> str:
    if word in _SINGULARS:
        return _SINGULARS[word]
    if word in _PLURALS.values() or not word.endswith("s") or word.endswith(("ss", "us")):
        return word
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("sses", "xes", "zes", "ches", "shes", "oes", "buses")):
        return word[:-2]
    return word[:-1] if len(word) > 2 else word
