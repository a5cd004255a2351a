"""Where examples come from: a `Source` gives the example at an index, so that training resumes exactly."""

from __future__ import annotations

from typing import Protocol

from looksay.types import Example


class Source(Protocol):
    """Examples by number. The same index always gives the same example."""

    size: int | None
    """How many there are; None: endless, every index is fresh."""

    def example(self, index: int) -> Example:
        """The example number `index`, from 0. Raises InputError where the data are at fault."""
