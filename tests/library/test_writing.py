"""Whatever is written into a page stands there as meant, in the eyes of those who will render it too."""

from __future__ import annotations

import re
from html import unescape
from html.parser import HTMLParser

import jinja2.ext
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from looksay.errors import PageError
from looksay.library import pages
from looksay.library.slots import Dialect

ODD = [
    *list("ab \"'[]()|{}%#<>&;\\`*_!\n한é🎉~^$-=+:/.0x,?@"),
    "&amp;",
    "&#39;",
    "{{",
    "%}",
    "}}",
    "--",
    "](",
]
ODD += [
    "\n\n",
    "\r\n",
    "\t",
    "\u2028",
    "\x85",
    "\xa0",
    "<b>",
    "-->",
    "```",
    "\n# ",
    "\n- ",
    "\n> ",
    "\n---\n",
    "http://x.y",
]
TEXTS = st.lists(
    st.one_of(st.sampled_from(ODD), st.characters(exclude_categories=["Cs", "Co", "Cn"])),
    max_size=16,
)
TEXTS = TEXTS.map("".join)

MARKDOWN = [
    "![](a.png)",
    "before ![old *text*](a.png 'title') after",
    "![old][r] after\n\n[r]: a.png",
    "![r] after\n\n[r]: a.png",
    "![r][] after\n\n[r]: a.png",
    "[![old](a.png)](page.html)",
    "# ![old](a.png) heading",
    "> quoted ![old\n> text](a.png) after",
    "- item\n  - ![old\n    text](a.png 't')\n",
    "1. ![old](a.png)\n",
    "| a | b |\n|-|-|\n| ![old](a.png) | c |\n",
    "| a | b |\n|-|-|\n| <img src=a.png> | c |\n",
    "<div>\n![old](a.png)\n</div>",
    "text <img src=a.png alt='old'> text",
    "<img src='a.png'\n alt=''>",
    '> <img src=a.png alt="old">\n> more',
]
HTML = [
    "<img src=a.png>",
    "<img src=a.png alt>",
    "<img src=a.png alt=old>",
    "<img src=a.png alt=old/>",
    "<img alt='' src='a.png'/>",
    '<img alt="old" src="a.png" />',
    '<picture><source srcset=b.webp><img src="a.png"></picture>',
    "<a href='x'><img\n  src='a.png'\n  alt='old\n  text'></a>",
]
TEMPLATES = [
    '{% image "a.png" "old" %}',
    "{% image 'a.png', 'old' %}",
    '{% image "a.png" %}',
    "{%- image 'a.png', '' -%}",
    '{% image src="a.png", alt="old", class="x" %}',
    "{% include figure.html\n  src='a.png' alt='old' %}",
    '{% include "f.html", image: "a.png", alt: "old", caption: "c" %}',
    '{% image_with_class "a.png" "wide" "old" %}',
]
HUGO = [
    '{{< figure src="a.png" >}}',
    '{{< figure src="a.png" alt="old" title="t" />}}',
    '{{% figure src="a.png" alt="" %}}',
]

BEFORE = {".md": "First ![one](b.png).\n\n", ".html": "<p>First <img src=b.png alt=one>.</p>\n"}
AFTER = {
    ".md": "\n\nLast ![two](c.png) `![x](d.png)` {% x %}.\n",
    ".html": "\n<p>Last <img src='c.png' alt='two'>.</p>\n",
}


def folded(text: str | None) -> str:
    return " ".join(re.sub(r"[\x00-\x1f\x7f]", " ", text or "").split())


def written(source: str, suffix: str, text: str, dialect: Dialect = "backslash") -> str:
    """The source with `text` in its slot: everything around it stays, byte for byte."""
    whole = BEFORE[suffix] + source + AFTER[suffix]
    result = pages.rewrite(whole.encode(), suffix, {1: text}, (), dialect).decode()
    assert result.startswith(BEFORE[suffix])
    assert result.endswith(AFTER[suffix])
    kept = re.sub(
        r"(?:,? *alt[=:] ?)?(['\"`])old[^'\"]*\1|\[old[^\]]*\]|,? alt=?old|,? *alt(?==)", "", source
    )
    assert len(result) >= len(BEFORE[suffix] + AFTER[suffix]) + len(kept) // 2
    slots = pages.read(result.encode(), suffix, (), dialect).slots
    assert [folded(s.alt) for s in slots] == ["one", folded(text), "two"]
    assert [s.src for s in slots] == ["b.png", "a.png", "c.png"]
    return result


class Images(HTMLParser):
    """The alt texts of rendered HTML, by the standard library alone."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.alts: list[str] = []
        self.others: list[str] = []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "img":
            self.alts.append(folded(dict(attrs).get("alt")))
        else:
            self.others.append(tag)


@given(TEXTS, st.sampled_from(HTML))
@example("&amp;a &ampx; &notit &copy", HTML[0])
@example("--><script>alert(1)</script>", HTML[2])
@settings(max_examples=250, deadline=None)
def test_html_pages_show_the_text(text: str, source: str) -> None:
    result = written(source, ".html", text)
    if "&#123;" not in result:  # there for a site generator
        assert Images(result).alts == ["one", folded(text), "two"]


@given(TEXTS, st.sampled_from(MARKDOWN))
@example("\n# no heading\n- no item", MARKDOWN[7])
@example("a | b", MARKDOWN[11])
@settings(max_examples=400, deadline=None)
def test_markdown_pages_show_the_text(text: str, source: str) -> None:
    result = written(source, ".md", text)
    rendered = (
        MarkdownIt("commonmark").enable("table").render(result.partition(AFTER[".md"])[0] + "\n")
    )
    if source.startswith("<div>"):
        assert (
            "![" in rendered
        )  # CommonMark shows it as it is, other generators make an image of it
    else:
        assert Images(rendered).alts == ["one", folded(text)]
    kept = MarkdownIt("commonmark").enable("table").render(BEFORE[".md"] + source)
    # No heading, list or code came out of a text.
    assert Images(kept).others == Images(rendered).others


@given(
    TEXTS,
    st.sampled_from(TEMPLATES),
    st.sampled_from(["backslash", "entity"]),
    st.sampled_from([".md", ".html"]),
)
@settings(max_examples=250, deadline=None)
def test_template_calls_hold_the_text(
    text: str, source: str, dialect: Dialect, suffix: str
) -> None:
    written(source, suffix, text, dialect)


@given(TEXTS, st.sampled_from(HUGO), st.sampled_from([".md", ".html"]))
@settings(max_examples=80, deadline=None)
def test_hugo_shortcodes_hold_the_text(text: str, source: str, suffix: str) -> None:
    result = written(source, suffix, text, "entity")
    (call,) = re.findall(
        r"\{\{[<%] figure.*[>%]\}\}", result
    )  # Hugo wants a shortcode's string on one line
    assert call.count("}}") == 1


class ImageTag(jinja2.ext.Extension):
    """`{% image "path", "alt" %}` as an Eleventy site defines it: the alt text goes into HTML as it is."""

    tags = {"image"}  # noqa: RUF012

    def parse(self, parser: jinja2.parser.Parser) -> jinja2.nodes.Node:
        line = next(parser.stream).lineno
        path = parser.parse_expression()
        parser.stream.expect("comma")
        alt = parser.parse_expression()
        parts = [
            jinja2.nodes.TemplateData('<img src="'),
            path,
            jinja2.nodes.TemplateData('" alt="'),
        ]
        end = jinja2.nodes.TemplateData('">')
        return jinja2.nodes.Output(
            [*parts, jinja2.nodes.Filter(alt, "attribute", [], [], None, None), end], lineno=line
        )


@given(TEXTS)
@settings(max_examples=80, deadline=None)
def test_a_nunjucks_like_engine_renders_the_text(text: str) -> None:
    environment = jinja2.Environment(extensions=[ImageTag])
    environment.filters["attribute"] = lambda words: words.replace('"', "&quot;")
    for source in ("{% image 'a.png', 'old' %}", '{% image "a.png", "" %}'):
        result = pages.rewrite(source.encode(), ".html", {0: text}).decode()
        (alt,) = Images(environment.from_string(result).render()).alts
        if "&" not in text:  # an ampersand is left to the site, as it would stand there by hand
            assert alt == folded(text)


@given(TEXTS)
@settings(max_examples=100, deadline=None)
def test_jekyll_strings_hold_no_quote_of_their_own(text: str) -> None:
    """Ruby Liquid knows no escapes: a string ends at the next quote of its kind."""
    result = pages.rewrite(
        b"{% include f.html src='a.png' alt='old' %}", ".md", {0: text}, (), "entity"
    ).decode()
    match = re.fullmatch(
        r"\{% include f\.html src='a\.png' alt=(?:'([^']*)'|\"([^\"]*)\") %\}", result
    )
    assert match is not None
    if "&" not in text:
        assert folded(unescape(match[1] or match[2] or "")) == folded(text)
    assert "%}" not in (match[1] or match[2] or "")
    assert "{{" not in (match[1] or match[2] or "")


@pytest.mark.parametrize("text", ["a `tick`", "``"])
def test_what_a_raw_hugo_string_cannot_hold_is_refused(text: str) -> None:
    with pytest.raises(PageError, match="backtick"):
        pages.rewrite(b"{{< figure src=`a.png` alt=`old` >}}", ".md", {0: text})


def test_a_variable_is_not_overwritten() -> None:
    with pytest.raises(PageError, match="variable"):
        pages.rewrite(b"{% include f.html src='a.png' alt=page.alt %}", ".md", {0: "x"})


@given(
    st.lists(TEXTS, min_size=3, max_size=3),
    st.lists(st.sampled_from(MARKDOWN), min_size=3, max_size=3),
)
@settings(max_examples=80, deadline=None)
def test_several_at_once_and_back_again(texts: list[str], sources: list[str]) -> None:
    """Writing the old texts after the new ones gives the old bytes, where a text has one way to stand."""
    data = "\n\n".join(s.replace("[r]", f"[r{n}]") for n, s in enumerate(sources)).encode()
    before = [s.alt for s in pages.read(data, ".md").slots]
    if len(before) != 3 or any(s.after for s in pages.read(data, ".md").slots):
        return
    result = pages.rewrite(data, ".md", dict(enumerate(texts)))
    assert [folded(s.alt) for s in pages.read(result, ".md").slots] == [folded(t) for t in texts]
    only_second = pages.rewrite(data, ".md", {1: texts[1]})
    assert [s.alt for s in pages.read(only_second, ".md").slots][::2] == before[::2]
