"""A page as the browser gets it: one template and a few static files, all from this package, added to a server's app.

There is no build step: the browser loads the modules as they stand in `static/`. What a page says stands in
`templates/NAME.json`, and what all pages say in `templates/words.json`, in every language.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import PurePosixPath

from fastapi import FastAPI, Request
from fastapi.responses import Response
from jinja2 import Environment, PackageLoader, StrictUndefined

KINDS = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
"""Files of `static/` by their ending. (`mimetypes` asks the system, and some Windows machines say that .js is plain
text, which no browser runs as a module.)"""
FOREVER = "public, max-age=31536000, immutable"
"""For files whose address holds the digest of what they say."""


def mount(app: FastAPI, name: str) -> None:
    """Add the page called `name` (`/`) and its files (`/static/DIGEST/NAME`) to `app`.

    All is read once, here: no path of a request reaches the file system. The page is asked for anew each time
    (304 when it has not changed); the files never, because their address changes with them.
    """
    static = _static()
    digest = hashlib.sha256(repr(sorted(static.items())).encode()).hexdigest()[:12]
    pages = {language: page(name, f"static/{digest}", language) for language in words(name)}

    @app.get("/", include_in_schema=False)
    async def shown(request: Request) -> Response:
        body = pages[preferred(request.headers.get("accept-language", ""), pages)]
        tag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
        headers = {"Cache-Control": "no-cache", "ETag": tag, "Vary": "Accept-Language"}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(body, media_type="text/html; charset=utf-8", headers=headers)

    @app.get("/static/{version}/{name}", include_in_schema=False)
    async def file(version: str, name: str) -> Response:
        if version != digest or name not in static:
            return Response("No such file. Reload the page.", 404, media_type="text/plain")
        headers = {"Cache-Control": FOREVER, "X-Content-Type-Options": "nosniff"}
        kind = KINDS[PurePosixPath(name).suffix]
        return Response(static[name], media_type=kind, headers=headers)


def page(name: str, static: str, language: str) -> bytes:
    """A page in one language; it carries the words of all, so that it can change without being loaded again.

    `static` is where its files lie, relative to the page: so it also works behind a proxy's prefix.
    """
    made = Environment(
        autoescape=True,
        trim_blocks=True,
        undefined=StrictUndefined,
        loader=PackageLoader("looksay.web"),
    )
    known = words(name)
    # As globals, for a template that another imports sees no others.
    made.globals |= {
        "static": static,
        "language": language,
        "all": known,
        "word": known[language],
    }
    return made.get_template(f"{name}.html").render().encode()


def words(name: str) -> dict[str, dict[str, str]]:
    """What a page says, by language: {"en": {"send": "Send", …}, "ko": {"send": "보내기", …}}."""
    common, own = (_words(one) for one in ("words", name))
    return {language: common[language] | own[language] for language in common}


def _words(name: str) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = json.loads(
        (files("looksay.web") / "templates" / f"{name}.json").read_text("utf-8")
    )
    return found


def preferred(accepted: str, languages: Mapping[str, object]) -> str:
    """The language of these that an Accept-Language header likes best; English where it likes none.

    >>> preferred("de, ko-KR;q=0.8, en;q=0.7", {"en": 1, "ko": 1}), preferred("fr", {}), preferred("", {})
    ('ko', 'en', 'en')
    """
    best, weight = "en", 0.0
    for part in accepted.split(","):
        tag, _, quality = part.replace(" ", "").partition(";q=")
        name = tag.split("-")[0].lower()
        try:
            wish = float(quality or 1)
        except ValueError:
            continue
        if name in languages and wish > weight:
            best, weight = name, wish
    return best


def _static() -> Mapping[str, bytes]:
    folder = files("looksay.web") / "static"
    return {
        one.name: one.read_bytes()
        for one in folder.iterdir()
        if PurePosixPath(one.name).suffix in KINDS
    }
