"""Pictures and words in turn: several examples of one task, one after the other, as one conversation.

One example: id "12 13 14", user (image, "How many dogs are there?"), assistant ("Two."), user (image, "How
many cats are there?"), assistant ("Three."), user (image, …), assistant (…).
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from looksay.data.dataset import Shuffled, Source, named
from looksay.errors import InputError
from looksay.types import Conversation, Example


def few_shot(examples: Sequence[Example], conversation: Conversation) -> Conversation:
    """The question of a conversation with the given examples before it: picture, question, answer, and again.

    What ends an answer (`<|endofchunk|>` in the template "flamingo") comes with the template. Only the
    conversation's own system message is kept, and stands first. Raises InputError where an example does
    not end with an answer.
    """
    system = [m for m in conversation.messages if m.role == "system"]
    shown = []
    for example in examples:
        turns = [m for m in example.conversation.messages if m.role != "system"]
        if not turns or turns[-1].role != "assistant":
            found = turns[-1].role if turns else "no turn at all"
            raise InputError(
                f"Example {example.id!r} is to be shown with its answer, so its last turn is the "
                f"assistant's; found: {found}."
            )
        shown += turns
    own = [m for m in conversation.messages if m.role != "system"]
    return Conversation((*system, *shown, *own), conversation.hints)


class Interleaved:
    """Endless conversations of 1 to `most` examples each, all from one of several sources (tasks).

    A picture's answer is then told by what was asked of the pictures before it as well: what learns from
    few examples at test time has to meet them in training (Flamingo, section 3.1.3, with up to 5).
    """

    size: int | None = None

    def __init__(self, tasks: Sequence[Source], most: int = 5, seed: int = 0) -> None:
        if not tasks or most < 1:
            raise InputError(
                f"Interleaved examples take a task or more and 1 example or more each; found {len(tasks)} "
                f"tasks and {most} examples."
            )
        self._tasks = [Shuffled(task, seed * 1_000_003 + n) for n, task in enumerate(tasks)]
        self._most, self._seed = most, seed
        self.fingerprint = named("Interleaved", seed, most, [task.fingerprint for task in tasks])

    def example(self, index: int) -> Example:
        """The conversation number `index`; `truth` is that of its last example."""
        draw = Random(f"{self._seed}-interleaved-{index}").random
        turn, number = divmod(index, len(self._tasks))
        task, count = self._tasks[number], 1 + int(draw() * self._most)
        *shown, last = (task.example(turn * self._most + n) for n in range(count))
        told = " ".join(example.id for example in (*shown, last))
        return Example(told, few_shot(shown, last.conversation), last.truth)
