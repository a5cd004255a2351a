"""What asking costs: estimated before it begins, and kept to a limit while it runs."""

from __future__ import annotations

from dataclasses import dataclass

from looksay.types import Conversation, Price


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run would take. Cost is None where no price is known, time where nothing was measured here yet."""

    model: str
    requests: int
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float | None
    seconds: float | None
    waiting: int = 0
    """Not asked: near-duplicates that will share the words of an earlier photo."""


def prompt_tokens(conversation: Conversation, image_tokens: int) -> int:
    """About how many tokens a request has: a quarter of its characters, and `image_tokens` for each picture."""
    parts = [part for message in conversation.messages for part in message.parts]
    characters = sum(len(part) for part in parts if isinstance(part, str))
    return characters // 4 + image_tokens * len(conversation.images)


def cost_usd(price: Price | None, remote: bool, prompt: int, completion: int) -> float | None:
    """What so many tokens cost; None where nobody knows, nothing on this machine."""
    if price is not None:
        return price.cost(prompt, completion)
    return None if remote else 0.0


class Budget:
    """What may be spent in all, in USD (None: whatever it costs), and what was.

    Nothing more is asked once what is in flight, at what answers of that kind cost so far, would go beyond the limit.
    """

    def __init__(self, limit_usd: float | None = None) -> None:
        self.limit_usd, self.spent_usd = limit_usd, 0.0
        self.reached = False
        """Something was not asked for it."""
        self._paid: dict[str, tuple[int, float]] = {}

    def pay(self, kind: str, cost_usd: float) -> None:
        """One answer came."""
        answers, spent = self._paid.get(kind, (0, 0.0))
        self._paid[kind] = answers + 1, spent + cost_usd
        self.spent_usd += cost_usd

    def allows(self, kind: str, in_flight: int, guess_usd: float) -> bool:
        """Whether one more may be asked; `guess_usd` is the cost of one before the first of its kind came."""
        if self.limit_usd is None:
            return True
        answers, spent = self._paid.get(kind, (0, 0.0))
        typical = spent / answers if answers else guess_usd
        self.reached = self.spent_usd + typical * (in_flight + 1) > self.limit_usd
        return not self.reached
