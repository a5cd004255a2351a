"""One picture described, without a catalogue.

>>> import looksay
>>> looksay.describe("examples/site/images/lighthouse.jpg", model="echo").text[:4]
'Echo'
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from looksay.backends.base import Backend, LoadOptions
from looksay.backends.loading import load as load_backend
from looksay.describing import prompts, rules
from looksay.errors import BackendError, InputError
from looksay.library.pages import Context
from looksay.types import Options


@dataclass(frozen=True, slots=True)
class Description:
    """Words for one picture. `decorative`: the model proposes that it needs none."""

    text: str
    extended: str
    decorative: bool
    model: str
    notes: tuple[str, ...]
    cost_usd: float
    seconds: float


def describe(
    photo: str | Path,
    model: str | Backend = "auto",
    *,
    language: str = "en",
    context: Context | None = None,
    options: Options | None = None,
    load_options: LoadOptions | None = None,
) -> Description:
    """Describe one picture file, without a catalogue. Raises LooksayError: an unknown or absent model, a
    remote one without `LoadOptions(allow_remote=True)`, an unreadable picture, an answer of no use."""
    backend = load_backend(model, load_options) if isinstance(model, str) else model
    path = Path(photo)
    if not path.is_file():
        raise InputError(f"{path} is not there. Expected a picture file.")
    asked = prompts.conversation(
        path, context or Context(), language=language, target=125, profile=backend.profile
    )
    completion = next(iter(backend.complete([asked], options or Options())))
    if completion.error:
        raise BackendError(f"{backend.name}: {completion.error}")
    answer = rules.read_answer(completion.text, language=language)
    if answer.problem in ("empty", "language"):
        raise BackendError(
            f"{backend.name}: the answer is of no use ({answer.problem}): {completion.text[:200]!r}"
        )
    return Description(
        answer.alt,
        answer.extended,
        answer.decorative,
        backend.name,
        answer.notes,
        completion.cost_usd,
        completion.seconds,
    )
