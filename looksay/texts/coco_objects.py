"""Objects of COCO's eighty classes that a text names, for CHAIR.

Source of the method: Rohrbach et al., "Object Hallucination in Image Captioning", EMNLP 2018, and
utils/chair.py of its repository (LisaAnne/Hallucination). The synonyms here are ours: words with another
common meaning are left out ("glass", "bat", "seat", "computer", "notebook"), so figures are not those of
the paper's list unless that list is given as the vocabulary.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal

from looksay.errors import UnknownName

Mode = Literal["fixed", "reference"]
"""reference: as the paper's code, faults included (they are named at `_reference`); fixed: without them."""

_TABLE = """
person: man, woman, boy, girl, child, kid, baby, toddler, infant, adult, teenager, lady, gentleman, guy,
  human, male, female, pedestrian, player, athlete, skier, snowboarder, skateboarder, skater, surfer, swimmer,
  cyclist, bicyclist, biker, rider, driver, passenger, runner, hiker, jockey, cowboy, batter, catcher, umpire,
  worker, chef, waiter, waitress, officer, policeman, policewoman, fireman, firefighter, soldier, sailor,
  fisherman, farmer, student, teacher, doctor, nurse, businessman, businesswoman, tourist, spectator,
  customer, shopper, bride, groom, mother, father, son, daughter, brother, sister, husband, wife,
  grandmother, grandfather, snow boarder, skate boarder
bicycle: bike, tricycle, unicycle
car: automobile, sedan, taxi, cab, suv, hatchback, convertible, limousine, jeep, van, minivan, station wagon
motorcycle: motorbike, motor bike, motor cycle, scooter, moped, dirt bike
airplane: plane, aeroplane, air plane, jet, jetliner, airliner, aircraft, biplane, seaplane
bus: minibus, trolleybus, school bus
train: locomotive, tram, monorail, steam engine
truck: lorry, pickup, pickup truck, firetruck, fire truck, fire engine
boat: ship, sailboat, rowboat, motorboat, speedboat, tugboat, canoe, kayak, yacht, ferry, dinghy, gondola,
  barge, catamaran
traffic light: traffic signal, stoplight, stop light
fire hydrant: hydrant
stop sign:
parking meter:
bench: pew
bird: seagull, gull, pigeon, dove, duck, duckling, goose, swan, owl, parrot, eagle, hawk, vulture, crow,
  sparrow, finch, hummingbird, woodpecker, ostrich, flamingo, pelican, heron, stork, penguin, peacock, chicken,
  rooster, hen
cat: kitten, kitty, feline, tabby
dog: puppy, pup, doggy, canine, mutt, hound, bulldog, sheepdog, poodle, terrier, labrador, retriever, husky,
  dachshund, beagle, corgi, collie, spaniel, chihuahua, pug, greyhound, dalmatian, rottweiler, german shepherd
horse: pony, foal, mare, stallion, colt
sheep: lamb, ewe, ram
cow: cattle, bull, calf, ox, heifer
elephant:
bear: grizzly, panda, grizzly bear, polar bear, panda bear
zebra:
giraffe:
backpack: knapsack, rucksack, back pack
umbrella: parasol
handbag: purse, hand bag
tie: necktie, bowtie, bow tie
suitcase: luggage, baggage, suit case
frisbee: flying disc, flying disk
skis: ski
snowboard: snow board
sports ball: ball, tennis ball, soccer ball, beach ball
kite:
baseball bat:
baseball glove: mitt, baseball mitt, catcher mitt
skateboard: skate board, longboard
surfboard: surf board, bodyboard
tennis racket: racket, racquet, tennis racquet
bottle:
wine glass: wineglass, champagne glass
cup: mug, teacup
fork:
knife: pocketknife
spoon: teaspoon, tablespoon
bowl:
banana:
apple:
sandwich: burger, hamburger, cheeseburger, panini
orange: tangerine, clementine
broccoli:
carrot:
hot dog: hotdog, frankfurter
pizza:
donut: doughnut
cake: cupcake, cheesecake, shortcake
chair: armchair, stool, recliner
couch: sofa, loveseat, settee, futon
potted plant: houseplant, house plant, pot plant
bed:
dining table: table, desk
toilet: urinal, commode
tv: television, monitor, tv set, television set
laptop: macbook, netbook, laptop computer, notebook computer
mouse: computer mouse
remote: remote control
keyboard: computer keyboard
cell phone: cellphone, phone, telephone, smartphone, smart phone, mobile phone, iphone
microwave: microwave oven
oven: stove, stovetop, stove top oven
toaster:
sink: washbasin
refrigerator: fridge, freezer
book: textbook
clock:
vase:
scissors:
teddy bear: teddy, teddybear, stuffed bear
hair drier: hair dryer, hairdryer, hairdrier, blow dryer
toothbrush: tooth brush
"""


def _listed(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


_ELSE = frozenset(
    _listed(
        "bus stop, bus station, bus lane, train station, train track, car park, boat house, ski lift, ski slope,"
        "ski resort, ski pole, ski jump, dog house, dog park, bird house, bird feeder, book shelf, book bag,"
        "book case, bed room, baggage claim, oven mitt, toilet paper, table tennis, table cloth, phone booth,"
        "orange juice, apple juice, carrot cake, banana bread, pizza box, home plate, chair lift, boat dock,"
        "truck stop"
    )
)
"""Compounds that name something else than their words; of "carrot cake" the cake is left."""
_LEFT = {"carrot cake": "cake", "toilet seat": "toilet"}
_ANIMALS = frozenset(
    ["bird", "cat", "dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe"]
)
_YOUNG = frozenset({"baby", "adult", "male", "female", "mother"})
"""Before an animal these are no persons."""
_ALSO_ANIMALS = frozenset({"animal", "cub", "lion", "tiger", "monkey", "goat", "deer", "kangaroo"})
_VEHICLES = frozenset({"airplane", "train", "bus", "boat", "car"})

_REFERENCE_DOUBLES = _listed(
    "motor bike, motor cycle, air plane, traffic light, street light, traffic signal, stop light, fire hydrant,"
    "stop sign, parking meter, suit case, sports ball, baseball bat, baseball glove, tennis racket, wine glass,"
    "hot dog, cell phone, mobile phone, teddy bear, hair drier, potted plant, laptop computer, home plate"
)
_REFERENCE_DOUBLED = (
    {name: name for name in _REFERENCE_DOUBLES}
    | {f"{age} {name}": name for age in ("baby", "adult") for name in (*_ANIMALS, "animal", "cub")}
    | {"passenger jet": "jet", "passenger train": "train"}
    | {"bow tie": "tie", "toilet seat": "toilet", "wine glas": "wine glass"}
)


@dataclass(frozen=True, slots=True)
class Mention:
    """A class of COCO named in a text. Example: Mention("puppy", "dog")."""

    word: str
    """As it was understood: singular, lower-cased."""
    object: str


@dataclass(frozen=True)
class Vocabulary:
    """Words and the class that each names: {"puppy": "dog", "hot dog": "hot dog", …}."""

    classes: Mapping[str, str]

    @classmethod
    def of(cls, table: Mapping[str, Iterable[str]]) -> Vocabulary:
        """From class → its synonyms; a class names itself."""
        pairs = [(word, name) for name, words in table.items() for word in (name, *words)]
        return cls(dict(pairs))

    @cached_property
    def longest(self) -> int:
        """Words in the longest name, compounds that name something else included."""
        return max([2, *(name.count(" ") + 1 for name in self.classes)])

    @cached_property
    def beginnings(self) -> frozenset[str]:
        """First words of names and compounds that have several."""
        names = (*self.classes, *_ELSE, *_LEFT)
        return frozenset(name.partition(" ")[0] for name in names if " " in name)


def _table() -> dict[str, list[str]]:
    lines = _TABLE.replace("\n  ", " ").strip().splitlines()
    split = (line.partition(":") for line in lines)
    return {name: _listed(words) for name, _, words in split}


COCO = Vocabulary.of(_table())


def find(text: str, vocabulary: Vocabulary = COCO, mode: Mode = "fixed") -> list[Mention]:
    """Objects that a text names, in order; what is named twice comes twice.

    >>> [m.object for m in find("Two puppies wait at a bus, not at the bus stop.")]
    ['dog', 'bus']
    >>> [m.object for m in find("Two puppies wait at a bus.", mode="reference")]
    ['dog']
    """
    words = tokens(text)
    return _reference(words, vocabulary) if mode == "reference" else _fixed(words, vocabulary)


def present(
    instances: Iterable[str],
    references: Iterable[str],
    vocabulary: Vocabulary = COCO,
    mode: Mode = "fixed",
) -> frozenset[str]:
    """What is in a picture: the classes of its instances and whatever its reference captions name.

    Raises UnknownName for a class that the vocabulary lacks.
    """
    there = set(instances)
    known = set(vocabulary.classes.values())
    for name in sorted(there - known):
        raise UnknownName("class of COCO", name, known)
    return frozenset(
        there.union(m.object for text in references for m in find(text, vocabulary, mode))
    )


_APART = re.compile(r"(\.\.+|--+|[][(){}<>,:;?!\"&$#%@“”])")
_CLITIC = re.compile(r"(.+?)(n't|'(?:s|m|d|ll|re|ve)|')$")


def tokens(text: str) -> list[str]:
    """Lower-cased words with marks of their own, much as the Penn Treebank splits: "cat's" is two.

    Hyphens and slashes stay inside words, as in the reference: "cat/dog" is one, and no object.
    """
    found: list[str] = []
    for piece in _APART.sub(r" \1 ", text.lower().replace("’", "'")).split():
        word = piece.lstrip("'`")
        bare = word.rstrip(".") if len(word) > 1 else word
        clitic = _CLITIC.match(bare)
        found += [clitic[1], clitic[2]] if clitic else [bare] if bare else []
        found += ["."] if bare != word else []
    return found


def _fixed(words: list[str], vocabulary: Vocabulary) -> list[Mention]:
    found: list[Mention] = []
    at = 0
    while at < len(words):
        taken, name = _longest(words, at, vocabulary)
        if name and not _qualifies(name, words, at + taken, vocabulary):
            found.append(Mention(name, vocabulary.classes[name]))
        at += taken
    return found


def _longest(words: list[str], at: int, vocabulary: Vocabulary) -> tuple[int, str | None]:
    """How many words the longest name from here on takes, and the name; (1, None) where there is none."""
    longest = vocabulary.longest if words[at] in vocabulary.beginnings else 1
    for size in range(min(longest, len(words) - at), 0, -1):
        span = words[at : at + size]
        if size == 2:
            pair = f"{span[0]} {span[1]}"
            for name in (pair, *_singulars(pair)):
                if name in _LEFT and _LEFT[name] in vocabulary.classes:
                    return 2, _LEFT[name]
                if name in _ELSE:
                    return 2, None
        for name in (" ".join(span), *_singulars(" ".join(span))):
            if name in vocabulary.classes:
                return size, name
    return 1, None


def _qualifies(name: str, words: list[str], after: int, vocabulary: Vocabulary) -> bool:
    """Whether a person's name only says which animal or vehicle follows: "baby elephant"."""
    if after >= len(words) or (name not in _YOUNG and name != "passenger"):
        return False
    _, following = _longest(words, after, vocabulary)
    kind = vocabulary.classes[following] if following else ""
    if name == "passenger":
        return kind in _VEHICLES
    plain = {words[after], *_singulars(words[after])}
    return kind in _ANIMALS or not plain.isdisjoint(_ALSO_ANIMALS)


_IRREGULAR = {"people": "person", "children": "child", "men": "man", "geese": "goose"}
_IRREGULAR |= {"oxen": "ox", "mice": "mouse", "calves": "calf", "feet": "foot", "teeth": "tooth"}


def _singulars(words: str) -> list[str]:
    """What the last word may be the plural of, likeliest first. The vocabulary decides."""
    for plural, singular in _IRREGULAR.items():
        if words.endswith(plural):
            return [words.removesuffix(plural) + singular]
    if not words.endswith("s") or words.endswith("ss"):
        return []
    endings = (("s", ""), ("es", ""), ("ies", "y"), ("ves", "f"), ("ves", "fe"))
    return [words.removesuffix(old) + new for old, new in endings if words.endswith(old)]


def _reference(words: list[str], vocabulary: Vocabulary) -> list[Mention]:
    """As the reference finds them, with what it gets wrong.

    Every word goes through the singulariser of `pattern`, also one that is singular: "bus" becomes "bu" and
    is never found ("buses" is), nor are "ties", "canoes", "collies". Only the pairs of its own list are
    joined: "pickup truck" is two trucks. Where "toilet" and "seat" both occur, no seat counts anywhere. "bus stop" names a bus (were it
    found), "train station" a train.
    """
    singular = [_singular(word) for word in words]
    joined: list[str] = []
    at = 0
    while at < len(singular):
        pair = " ".join(singular[at : at + 2])
        joined.append(_REFERENCE_DOUBLED.get(pair, singular[at]))
        at += 2 if pair in _REFERENCE_DOUBLED else 1
    if "toilet" in joined:
        joined = [word for word in joined if word != "seat"]
    classes = vocabulary.classes
    return [Mention(word, classes[word]) for word in joined if word in classes]


_PATTERN = [
    (re.compile(pattern), ending)
    for pattern, ending in (
        ("children$", "child"),
        ("people$", "person"),
        ("men$", "man"),
        ("geese$", "goose"),
        ("oxen$", "ox"),
        ("feet$", "foot"),
        ("teeth$", "tooth"),
        ("(lea|loa)ves$", r"\1f"),
        ("([ml])ice$", r"\1ouse"),
        ("(shoe)s$", r"\1"),
        ("(o)es$", r"\1"),
        ("(bus)es$", r"\1"),
        ("(x|ch|ss|sh)es$", r"\1"),
        ("(movie|ombie)s$", r"\1"),
        ("([^aeiou])ies$", r"\1y"),
        ("([aeo]l)ves$", r"\1f"),
        ("([nlw]i)ves$", r"\1fe"),
        ("([lr])ves$", r"\1f"),
        ("([st]ive)s$", r"\1"),
        ("([aeo])ves$", r"\1ve"),
        ("([^f])ves$", r"\1fe"),
        ("(ba)ses$", r"\1sis"),
        ("([ti])a$", r"\1um"),
        ("s$", ""),
    )
]
_SAME = re.compile(r"(?:scissors|christmas|swiss|series|species|news|headquarters|chassis|pliers)$")
_IE = re.compile(r"(?:aunt|bean|bird|coll|cook|dogg|hank|junk|pix|rook|vegg)ies$")
"""Plurals that `pattern` hands back unchanged, where it means to take the s away."""


@lru_cache(maxsize=65536)
def _singular(word: str) -> str:
    """What `pattern` makes of a word, as far as the vocabulary can tell: some of its rules are left out."""
    if _SAME.search(word) or _IE.search(word):
        return word
    for pattern, ending in _PATTERN:
        if pattern.search(word):
            return pattern.sub(ending, word)
    return word
