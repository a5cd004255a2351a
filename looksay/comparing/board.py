"""A comparison as it stands: who was compared on which photos, what each said, and what raters thought of it.

Everything is read from the catalogue, so a report, a grading session and a run see the same, whoever was last at it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from looksay.library.catalog import Catalog
from looksay.library.ratings import Comparison, Rating, Trial

Prompt = Literal["own", "bare", "common"]
"""own: what `describe` asks that model, with the page around the photo; bare: the same with the photo
alone, which shows what the page and the folder add; common: one short request for all."""
PROMPTS: dict[Prompt, str] = {"own": "", "bare": ", photo alone", "common": ", common prompt"}
"""What a report adds to a model's name."""


@dataclass(frozen=True, slots=True)
class Entrant:
    """A model, asked in one way. Example: Entrant("ollama:llava", "common")."""

    model: str
    prompt: Prompt = "own"

    @property
    def name(self) -> str:
        """As a report calls it."""
        return self.model + PROMPTS[self.prompt]


@dataclass(frozen=True, slots=True)
class Place:
    """One photo of a comparison, as it was when the comparison was begun."""

    photo_id: int
    path: str
    page: str = ""
    occurrence: int = 0
    language: str = "en"
    around: str = ""
    """What the page says around it, for raters."""
    link: bool = False
    """It is the content of a link or button."""
    references: tuple[str, ...] = ()
    """What people wrote about it."""

    @property
    def name(self) -> str:
        return f"{self.path} on {self.page}" if self.page else self.path


@dataclass(frozen=True, slots=True)
class Text:
    """What one or several entrants said to a photo, word for word the same: it is graded once."""

    place: int
    words: str
    decorative: bool
    generations: tuple[int, ...]
    """Where it came from; the first stands for it in new ratings."""
    entrants: tuple[int, ...]

    @property
    def shown(self) -> str:
        return "(no text: proposed as decoration)" if self.decorative else self.words


@dataclass(frozen=True, slots=True)
class Plan:
    """What a comparison is, from its beginning on; the same plan is the same comparison."""

    entrants: tuple[Entrant, ...]
    places: tuple[Place, ...]
    wanted: Mapping[str, Any] = field(default_factory=dict)
    """What was asked for (models, sample, seed …), which names the comparison."""
    about: Mapping[str, Any] = field(default_factory=dict)
    """What else a report says: of what the sample was drawn; figures that somebody printed."""

    @property
    def token(self) -> str:
        """Of what was asked for, not of the photos: those are drawn once."""
        return token(self.wanted)

    def as_record(self) -> dict[str, Any]:
        """As the catalogue keeps it, JSON in the end."""
        return {
            "entrants": [asdict(one) for one in self.entrants],
            "places": [asdict(one) for one in self.places],
            "wanted": dict(self.wanted),
            "about": dict(self.about),
        }

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Plan:
        """What `as_record` wrote."""
        return cls(
            tuple(Entrant(**one) for one in record["entrants"]),
            tuple(
                Place(**(one | {"references": tuple(one["references"])}))
                for one in record["places"]
            ),
            record["wanted"],
            record["about"],
        )


class Board:
    """A comparison read from the catalogue; `read` it again once something was said or graded."""

    def __init__(self, catalog: Catalog, comparison: Comparison) -> None:
        self.catalog, self.comparison = catalog, comparison
        self.plan = Plan.of(comparison.settings)
        self.places = self.plan.places
        self.read()

    def read(self) -> None:
        """What the catalogue holds now."""
        ratings = self.catalog.ratings
        trials = {(t.place, t.entrant): t for t in ratings.trials(self.comparison)}
        self._said: dict[int, set[int]] = {}
        for (place, entrant), trial in trials.items():
            if trial.generation_id is not None:
                self._said.setdefault(place, set()).add(entrant)
        shown = [n for n, one in enumerate(self.plan.entrants) if not self._idle(n, one, trials)]
        self.entrants: list[Entrant] = [self.plan.entrants[n] for n in shown]
        """Those with answers of their own: who follows no prompt says the same to both, and is there once."""
        self.numbers: list[int] = shown
        """What the catalogue calls them."""
        self.cells: dict[tuple[int, int], Trial] = {
            (place, shown.index(entrant)): trial
            for (place, entrant), trial in trials.items()
            if entrant in shown
        }
        """(place, entrant) → what was said; nothing where nothing was asked yet."""
        self.texts: list[Text] = [
            text for place in range(len(self.places)) for text in self._texts(place)
        ]
        self.of_generation: dict[int, Text] = {
            id: text for text in self.texts for id in text.generations
        }
        self.ratings: list[Rating] = ratings.of(self.of_generation)

    @property
    def idle(self) -> list[Entrant]:
        """Entrants that are left out because their answers are those of the same model to its own prompt."""
        return [one for n, one in enumerate(self.plan.entrants) if n not in self.numbers]

    def answered(self, place: int, number: int) -> bool:
        """Whether entrant `number` of the plan ever said something to a photo."""
        return number in self._said.get(place, ())

    def texts_of(self, place: int) -> list[Text]:
        """The different texts of one photo."""
        return [text for text in self.texts if text.place == place]

    def _idle(self, number: int, entrant: Entrant, trials: Mapping[tuple[int, int], Trial]) -> bool:
        own = Entrant(entrant.model)
        if entrant == own or own not in self.plan.entrants:
            return False
        other = self.plan.entrants.index(own)
        said = [
            (trials[place, number].generation_id, trials[place, other].generation_id)
            for place in range(len(self.places))
            if (place, number) in trials and (place, other) in trials
        ]
        return bool(said) and all(one == same for one, same in said)

    def _texts(self, place: int) -> Iterable[Text]:
        alike: dict[tuple[str, bool], list[tuple[int, int]]] = {}
        for entrant in range(len(self.entrants)):
            trial = self.cells.get((place, entrant))
            if trial is not None and trial.generation_id is not None:
                said = (trial.text, trial.decorative)
                alike.setdefault(said, []).append((trial.generation_id, entrant))
        for (words, decorative), found in alike.items():
            generations = tuple(dict.fromkeys(id for id, _ in found))
            yield Text(place, words, decorative, generations, tuple(e for _, e in found))


def token(wanted: Mapping[str, Any]) -> str:
    """The digest of what a comparison was asked to be."""
    return hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()[:24]


def open_newest(catalog: Catalog) -> Board | None:
    """The comparison that was last worked on."""
    found = catalog.ratings.newest()
    return None if found is None else Board(catalog, found)


def begin(catalog: Catalog, plan: Plan) -> Board:
    """The comparison of this plan; one that was begun before goes on, with the photos that it has."""
    return Board(catalog, catalog.ratings.begin(plan.token, plan.as_record()))


def entrants(models: Sequence[str], prompts: Sequence[Prompt]) -> tuple[Entrant, ...]:
    """Each model with each prompt, own prompts first."""
    return tuple(Entrant(model, prompt) for prompt in prompts for model in dict.fromkeys(models))
