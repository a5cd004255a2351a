"""Words of English captions, by what they do in a sentence. Ours; a caption reader needs no more."""

from __future__ import annotations


def _listed(words: str) -> frozenset[str]:
    return frozenset(words.split())


_DEFINITE = _listed("the this that its his her their")
DETERMINERS = _DEFINITE | _listed(
    "a an these those some several many few multiple various single another other both each every all any"
)
COUNTING = {"a": 1, "an": 1, "single": 1, "both": 2} | dict.fromkeys(_DEFINITE, 1)
"""What determiners count; before a plural they do not."""
NEGATIONS = _listed("no without zero not")
COPULAS = _listed(
    """
    are as be been being can each hanging hangs hung is it lay laying lie lies located lying mounted one parked
    perched placed posed posing positioned resting rests sat seated seen sit sits sitting situated stand
    standing stands stood that there was were which while who
    """
)
"""Words between two things that say nothing of how they stand to each other."""
_SIDES = {
    "left of": ["left of", "to left of", "on left of", "left side of", "on left side of", "to left side of"],
    "right of": ["right of", "to right of", "on right of", "right side of", "on right side of"],
    "above": ["above", "over"],
    "below": ["below", "under", "underneath", "beneath"],
    "on": ["on", "on top of", "upon", "atop", "onto"],
    "in": ["in", "inside", "inside of", "within", "into"],
    "next to": ["next to", "beside", "by", "near", "close to", "alongside", "adjacent to"],
    "in front of": ["in front of"],
    "behind": ["behind"],
    "with": ["with", "has", "have"],
    "at": ["at"],
    "along": ["along"],
    "through": ["through"],
    "around": ["around"],
    "against": ["against"],
    "across": ["across"],
    "between": ["between"],
}  # fmt: skip
SIDES = {words: side for side, several in _SIDES.items() for words in several}
SIDES |= {
    words.replace("left", "the left").replace("right", "the right"): side
    for words, side in list(SIDES.items())
    if side in ("left of", "right of")
}
_DOES = {
    "holds": "holding", "hold": "holding", "rides": "riding", "ride": "riding", "wears": "wearing", "wear": "wearing",
    "eats": "eating", "eat": "eating", "carries": "carrying", "carry": "carrying", "pulls": "pulling",
    "pull": "pulling", "catches": "catching", "catch": "catching", "chases": "chasing", "watches": "watching",
    "throws": "throwing", "throw": "throwing", "drinks": "drinking", "reads": "reading", "flies": "flying",
    "pushes": "pushing", "hits": "hitting", "swings": "swinging", "swing": "swinging", "plays": "playing",
    "kicks": "kicking", "feeds": "feeding", "walks": "walking", "walk": "walking", "runs": "running", "run": "running",
    "drives": "driving", "cuts": "cutting", "uses": "using", "crosses": "crossing", "leads": "leading",
    "sleeps": "sleeping", "sleep": "sleeping", "looks": "looking", "look": "looking", "jumps": "jumping",
    "jump": "jumping", "swims": "swimming", "swim": "swimming", "grazes": "grazing", "graze": "grazing",
    "floats": "floating", "float": "floating", "leans": "leaning", "lean": "leaning", "waits": "waiting",
    "shows": "showing", "show": "showing", "covers": "covering", "fills": "filling", "overlooks": "overlooking",
    "stares": "staring", "smiles": "smiling", "smile": "smiling", "sails": "sailing", "dances": "dancing",
}  # fmt: skip
VERBS = (
    _listed(
        """
    catch chase cross drive face feed fly grow hit kick push read stare taken throw
    appear appears attached can come comes contain contains could covered crossing decorated depicts did display
    displays do does dressed driven features filled get gets go goes had has have held include includes lined
    lit loaded made make makes may might must painted pulled ridden says seem seems shown surrounded take taken
    takes tied topped will worn would
    """
    )
    | COPULAS - {"one"}
    | frozenset(_DOES)
)
FUNCTION = (
    _listed(
        """
    about above across adjacent after against along alongside also and around as at atop away before behind
    below beneath beside between but by close down during for from front he here him i in inside into it just
    like near next nor of off on only onto or out over she so than them then there they through to together top
    top-down toward towards under underneath up upon very we what when where which while who with within you
    """
    )
    | NEGATIONS
)
ADJECTIVES = _listed(
    """
    ancient antique baked beautiful blurry bright broken busy calm chopped clean clear cloudy cold colorful
    colourful cooked crowded cute dark decorative deep different dirty distant domestic fluffy fresh fried furry
    grassy grilled hairy happy hard heavy high indoor lone lovely low lower main modern multicolored narrow
    nearby new nice outdoor own pale patterned plaid pretty private professional public quiet rainy raw rear
    ripe rocky rough round rural sad same sandy shiny similar sliced smooth snowy soft square striped sunny tall
    thick thin tiny tropical upper urban various vintage warm whole wide wild
    """
)
ADJECTIVAL = ("ful", "ous", "less", "ish")
"""Endings of adjectives."""
NOUNS_LIKE_VERBS = _listed(
    """
    awning baking bed breed building buildings ceiling clothing cutting dining drawing drawings evening feed
    flatbed frosting icing king lightning living morning painting paintings parking railing red reed ring rings
    seabed seed shed shopping sibling siblings skiing sled speed sporting spring string strings surfing swing
    thing things topping toppings washing wedding weed wing wings
    """
)
"""Nouns that end as participles do."""
LY_NOUNS = _listed(
    """
    belly bully butterfly family fly italy jelly lily lonely
    """
)
UNCOUNTED = _listed(
    """
    air baggage beer bread broccoli cheese clothing coffee concrete dirt equipment fog foliage food fruit fur
    furniture graffiti grass gravel hair ice jewelry juice ketchup lettuce luggage meat metal milk mud mustard
    paper rain rice sand sauce sky smoke snow sunlight tea traffic vegetation water wine wood
    """
)
MEDIA = {
    "photo": "photograph", "photograph": "photograph", "snapshot": "photograph", "painting": "painting",
    "drawing": "drawing", "sketch": "drawing", "illustration": "illustration", "cartoon": "cartoon",
    "screenshot": "screenshot", "picture": "", "image": "", "view": "", "shot": "", "close-up": "", "closeup": "",
    "scene": "", "background": "", "foreground": "",
}  # fmt: skip
"""Words for the picture as a whole, and which medium they say it is."""
NO_THINGS = _listed(
    """
    another back bottom bunch center centre close corner couple day distance edge end front group inside it kind
    left line lot lots middle number one other others outside pair part piece pieces rest right row set side
    someone something them thing time top type variety view way while
    """
)
"""Nouns that name nothing in the picture ("the side of the road" names the road)."""


def doing(word: str) -> str:
    """ "holding" for "holds" and "holding"; "" for what is no such verb."""
    return word if word.endswith("ing") and word not in NOUNS_LIKE_VERBS else _DOES.get(word, "")
