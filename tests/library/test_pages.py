"""Which images a page shows, with which words, and what the page says around them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import jpeg, put

import looksay
from looksay.errors import InputError, PageError
from looksay.library import pages
from looksay.library.templates import CallPattern

Found = list[tuple[str, str | None]]


def shown(source: str | bytes, suffix: str = ".md", *patterns: CallPattern) -> Found:
    data = source if isinstance(source, bytes) else source.encode()
    return [(s.src, s.alt) for s in pages.read(data, suffix, patterns).slots]


MARKDOWN = [
    ("![x](a.png)", [("a.png", "x")]),
    ("![](a.png)", [("a.png", "")]),
    ('![x](a.png "title")', [("a.png", "x")]),
    ("![x](<a b.png>)", [("a b.png", "x")]),
    ("![x](a%20b.png)", [("a b.png", "x")]),
    ("![x](사진.png)", [("사진.png", "x")]),
    ("![*x* **y** `z`](a.png)", [("a.png", "x y z")]),
    ("![a [b] c](a.png)", [("a.png", "a [b] c")]),
    (r"![a \] b](a.png)", [("a.png", "a ] b")]),
    ("![R&amp;D &eacute;](a.png)", [("a.png", "R&D é")]),
    ("![two\nlines](a.png)", [("a.png", "two\nlines")]),
    ("![x][r]\n\n[r]: a.png", [("a.png", "x")]),
    ("![r][]\n\n[r]: a.png", [("a.png", "r")]),
    ("![r]\n\n[r]: a.png", [("a.png", "r")]),
    ("![x][R]\n\n[r]: <a b.png> 'title'", [("a b.png", "x")]),
    ("![x][missing]", []),
    ("[![x](a.png)](page.html)", [("a.png", "x")]),
    ("- item\n  - ![x](a.png)\n", [("a.png", "x")]),
    ("1. ![x](a.png)\n2. ![y](b.png)", [("a.png", "x"), ("b.png", "y")]),
    ("> quoted\n> ![x](a.png)", [("a.png", "x")]),
    ("> - > ![x\n>   > y](a.png)", [("a.png", "x\ny")]),
    ("# ![x](a.png) Title", [("a.png", "x")]),
    ("![x](a.png)\n===", [("a.png", "x")]),
    ("|a|b|\n|-|-|\n|![x](a.png)|![y \\| z](b.png)|", [("a.png", "x"), ("b.png", "y | z")]),
    ("<img src=a.png>", [("a.png", None)]),
    ("text <img src='a.png' alt='x'> text", [("a.png", "x")]),
    ("<div>\n<img src='a.png' alt='x'>\n</div>", [("a.png", "x")]),
    ("<div>\n\n![x](a.png)\n\n</div>", [("a.png", "x")]),
    ("<figure>\n![x](a.png)\n</figure>", [("a.png", "x")]),
    ("<details><summary>s</summary>\n\n![x](a.png)\n</details>", [("a.png", "x")]),
    ("<picture><source srcset=b.webp><img src=a.png alt=x></picture>", [("a.png", "x")]),
    ("![x](a.png) <img src=b.png> ![z](c.png)", [("a.png", "x"), ("b.png", None), ("c.png", "z")]),
    ("![x](a.png)![y](b.png)", [("a.png", "x"), ("b.png", "y")]),
    ("\tindented first\n\n![x](a.png)", [("a.png", "x")]),
    ("para\r\n\r\n![x](a.png)\r\n", [("a.png", "x")]),
    ("para\r\r![x](a.png)\r", [("a.png", "x")]),
    # Not shown.
    ("`![x](a.png)`", []),
    ("``` \n![x](a.png)\n```", []),
    ("~~~md\n<img src=a.png>\n~~~", []),
    ("    ![x](a.png)", []),
    ("> ```\n> ![x](a.png)\n> ```", []),
    ("<!-- ![x](a.png) <img src=b.png> -->", []),
    ("text <!-- <img src=b.png> --> text", []),
    ("<pre>\n![x](a.png)\n</pre>", []),
    ("<script>\nx = '<img src=a.png>'\n</script>", []),
    (r"\![x](a.png)", []),
    ("[x](a.png)", []),
    ("`<img src=a.png>`", []),
    ("{% raw %}![x](a.png){% endraw %}", []),
    ("{% comment %}<img src=a.png>{% endcomment %}", []),
    ("{% highlight html %}\n<img src=a.png>\n{% endhighlight %}", []),
    ("{# ![x](a.png) #}", []),
    ("`{% image 'a.png' 'x' %}`", []),
    ("```\n{% image 'a.png' 'x' %}\n```", []),
    ("---\nimage: '![x](a.png)'\n---\n", []),
]


@pytest.mark.parametrize(("source", "expected"), MARKDOWN)
def test_markdown(source: str, expected: Found) -> None:
    assert shown(source) == expected


HTML = [
    ("<img src=a.png>", [("a.png", None)]),
    ("<IMG SRC='a.png' ALT=''>", [("a.png", "")]),
    ("<img src=a.png alt>", [("a.png", "")]),
    ("<img\n  src = 'a.png'\n  alt = 'two\n  lines'\n/>", [("a.png", "two\n  lines")]),
    ("<img src=a.png alt=bare>", [("a.png", "bare")]),
    ("<img src=a.png alt=bare/>", [("a.png", "bare")]),
    ("<img src='a.png' alt='x' alt='y'>", [("a.png", "x")]),
    ("<img alt='a > b' src='a.png'>", [("a.png", "a > b")]),
    ("<img src='a&amp;b.png' alt='&quot;q&quot; &#44032;'>", [("a&b.png", '"q" 가')]),
    ("<img data-src=a.png src='data:image/gif;base64,x' alt=x>", [("a.png", "x")]),
    ("<img srcset='a.png 1x, b.png 2x' alt=x>", [("a.png", "x")]),
    ("<picture><source srcset=b.webp><img src=a.png alt=x></picture>", [("a.png", "x")]),
    ("<noscript><img src=a.png alt=x></noscript>", [("a.png", "x")]),
    ("<a href=x><img src=a.png></a", [("a.png", None)]),
    ("<p>![x](a.png)</p>", []),
    ("<!-- <img src=a.png> -->", []),
    ("<script>'<img src=a.png>'</script><style>/*<img src=b.png>*/</style>", []),
    ("<img alt='no source'>", []),
    ("<imgs src=a.png>", []),
    ("<img src=a.png", []),
    ("", []),
]


@pytest.mark.parametrize(("source", "expected"), HTML)
def test_html(source: str, expected: Found) -> None:
    assert shown(source, ".html") == expected


TEMPLATES = [
    # Eleventy, Nunjucks, Twig.
    ('{% image "a.png" "x" %}', [("a.png", "x")]),
    ("{%- image 'a.png', 'x' -%}", [("a.png", "x")]),
    ('{% image "a.png", "say \\"x\\"" %}', [("a.png", 'say "x"')]),
    ('{% image "a.png" %}', [("a.png", None)]),
    ('{% image src="a.png", alt="x" %}', [("a.png", "x")]),
    ('{% image_with_class "a.png" "wide" "x" %}', [("a.png", "x")]),
    ('{% image\n  "a.png"\n  "x"\n%}', [("a.png", "x")]),
    ('{% image "a.png" "50% off" %}', [("a.png", "50% off")]),
    ('{% image "a.png" "braces } and %" %}', [("a.png", "braces } and %")]),
    # Jekyll.
    ("{% include figure.html src='a.png' alt='x' %}", [("a.png", "x")]),
    ('{% include "figure.html", image: "a.png", alt: "x", caption: "c" %}', [("a.png", "x")]),
    ("{% include figure.html src='a.png' alt=page.alt %}", [("a.png", "page.alt")]),
    ("![x]({{ site.baseurl }}/a.png)", [("/a.png", "x")]),
    ('![x]({{ "/a.png" | relative_url }})', [("/a.png", "x")]),
    ("<img src='{{ site.baseurl }}{{ \"/a.png\" }}' alt='x'>", [("/a.png", "x")]),
    ("![x]({% link assets/a.png %})", [("assets/a.png", "x")]),
    # Hugo.
    ('{{< figure src="a.png" alt="x" title="t" >}}', [("a.png", "x")]),
    ('{{% figure src="a.png" alt="x" %}}', [("a.png", "x")]),
    ('{{< figure src="a.png" alt=`raw "x"` />}}', [("a.png", 'raw "x"')]),
    ('{{< figure src="a.png" >}}', [("a.png", None)]),
    # No images, or code that shows how to write one.
    ("{% include header.html %}", []),
    ('{% set src = "a.png" %}{{ src }}', []),
    ("{% endimage %}", []),
    ("{{/* figure src='a.png' */}}", []),
    ("{% raw %}{% image 'a.png' 'x' %}{% endraw %}", []),
    ("{% verbatim %}{% image 'a.png' 'x' %}{% endverbatim %}", []),
    ('{{< highlight html >}}<img src="a.png">{{< /highlight >}}', []),
    ("<!-- {% image 'a.png' 'x' %} -->", []),
]


BOTH = [(s, e, x) for s, e in TEMPLATES for x in (".md", ".html") if x == ".md" or s[:2] != "!["]


@pytest.mark.parametrize(("source", "expected", "suffix"), BOTH)
def test_template_calls(source: str, expected: Found, suffix: str) -> None:
    assert shown(source, suffix) == expected


def test_front_matter_gives_variables_and_title() -> None:
    source = '---\ntitle: "A walk"\nlang: de\nimage: photos/a.png\n---\n![x]({{ page.image }})\n'
    page = pages.read(source.encode(), ".md")
    assert [(s.src, s.alt) for s in page.slots] == [("photos/a.png", "x")]
    assert (page.title, page.contexts[0].title, page.contexts[0].language) == (
        "A walk",
        "A walk",
        "de",
    )
    toml = '+++\ntitle = "A walk"\n+++\n![x](a.png)\n'
    assert pages.read(toml.encode(), ".md").title == "A walk"


def test_own_patterns_come_first() -> None:
    gallery = CallPattern("gallery_*", ("picture", 1), ("words", 2))
    assert shown('{% gallery_wide "big" "a.png" "x" %}', ".md") == []
    assert shown('{% gallery_wide "big" "a.png" "x" %}', ".md", gallery) == [("a.png", "x")]
    swapped = CallPattern("image", (1,), (0,))
    assert shown('{% image "x" "a.png" %}', ".md", swapped) == [("a.png", "x")]


def test_own_patterns_from_the_settings_count_from_the_next_scan_on(tmp_path: Path) -> None:
    put(tmp_path / "a.jpg", jpeg(1))
    put(tmp_path / "page.md", '{% pic "big" "a.jpg" "x" %}\n')
    with looksay.Library(tmp_path) as library:
        assert library.scan().placements == 0
    put(tmp_path / "looksay.toml", '[[templates]]\ncall = "pic"\nphoto = 1\nalt = 2\n')
    with looksay.Library(tmp_path) as library:
        assert library.scan().placements == 1
        assert library.scan().changed == 0
    put(tmp_path / "looksay.toml", '[[templates]]\ncall = "pic"\nphoto = 1\n')
    with (
        pytest.raises(InputError, match="needs call, photo and alt"),
        looksay.Library(tmp_path) as library,
    ):
        library.scan()


# --- context ----------------------------------------------------------------------------------------

PAGE = """<html lang="fr"><head><title>Le port</title></head><body>
<h1>Le port</h1><p>Avant le phare.</p><h2>Le phare</h2><p>On monte.</p>
<figure><a href="phare.html"><img src="a.png" alt="WORDS"></a><figcaption>Bâti en 1902.</figcaption></figure>
<p>En haut, la mer.</p><h2>Plus loin</h2><img src="b.png" alt="WORDS"></body></html>"""


def test_html_context() -> None:
    first, second = pages.read(PAGE.encode(), ".html").contexts
    assert (first.title, first.heading, first.caption) == ("Le port", "Le phare", "Bâti en 1902.")
    assert (first.link, first.language) == ("phare.html", "fr")
    assert first.before.endswith("Le phare On monte.")
    assert first.after.startswith("Bâti en 1902. En haut, la mer.")
    assert (second.heading, second.caption, second.link) == ("Plus loin", "", "")


def test_markdown_context() -> None:
    source = (
        "# The harbour\n\nBefore **it**.\n\n## The [lighthouse](l.html)\n\nWe *climb*.\n\n"
        "[![x](a.png)](big.html)\n\nFrom the `top`, the sea.\n"
    )
    (context,) = pages.read(source.encode(), ".md").contexts
    assert (context.title, context.heading) == ("The harbour", "The lighthouse")
    assert context.link == "big.html"
    assert context.before.endswith("We climb.")
    assert context.after.startswith("From the")


SURROUNDED = [
    (".html", PAGE),
    (".md", "# ![WORDS](a.png) Title\n\ntext\n\n![WORDS](b.png)\n\nmore ![WORDS](c.png)\n"),
    (".md", "![WORDS](a.png)\n\n| a | b |\n|-|-|\n| ![WORDS](b.png) | text |\n"),
    (".md", "Title ![WORDS][r]\n===\n\n![WORDS][r] [![WORDS](b.png)](u)\n\n[r]: a.png\n"),
    (
        ".md",
        "a\n\n<figure><img src=a.png alt='WORDS'><figcaption><img src=b.png alt='WORDS'>c</figcaption></figure>\n",
    ),
    (".md", "x {% image 'a.png' 'WORDS' %} y\n\n{% image 'b.png' 'WORDS' %} z " + "word " * 200),
    (".html", "<h1><img src=a.png alt='WORDS'> Home</h1>" + "<img src=b.png alt='WORDS'>word " * 9),
]


@pytest.mark.parametrize(("suffix", "source"), SURROUNDED)
@pytest.mark.parametrize("words", ["", "SECRET", "SECRET words of some length. " * 12])
def test_alt_texts_are_no_part_of_any_context(suffix: str, source: str, words: str) -> None:
    """Else writing one text would change what is asked for the next image."""
    plain = pages.read(source.replace("WORDS", "w").encode(), suffix)
    other = pages.read(source.replace("WORDS", words).encode(), suffix)
    assert len(plain.slots) > 1
    assert other.contexts == plain.contexts
    assert other.title == plain.title
    assert "SECRET" not in repr(other.contexts)


# --- encodings --------------------------------------------------------------------------------------

ENCODINGS = [
    ("utf-8", "<img src=a.png alt='{}'>", "가 é"),
    ("utf-8-sig", "<img src=a.png alt='{}'>", "가 é"),
    ("utf-16", "<img src=a.png alt='{}'>", "가 é"),
    ("utf-16-be-bom", "<img src=a.png alt='{}'>", "가 é"),
    ("euc-kr", "<meta charset=euc-kr><img src=a.png alt='{}'>", "가"),
    ("cp949", "<meta charset='euc-kr'><img src=a.png alt='{}'>", "똠방각하 뷁"),
    ("cp949", "<meta charset='ks_c_5601-1987'><img src=a.png alt='{}'>", "똠방각하"),
    (
        "cp949",
        "<meta http-equiv=Content-Type content='text/html; charset=cp949'><img src=a.png alt='{}'>",
        "뷁",
    ),
    ("shift_jis", "<?xml version='1.0' encoding='Shift_JIS'?><img src=a.png alt='{}'>", "港"),
    ("cp1252", "<meta charset=iso-8859-1><img src=a.png alt='{}'>", "l’été"),
    ("latin-1", "<img src=a.png alt='{}'>", "été"),
]


@pytest.mark.parametrize(("encoding", "source", "words"), ENCODINGS)
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_encodings_are_read_and_every_other_byte_stays(
    encoding: str, source: str, words: str, newline: str
) -> None:
    text = f"<p>{words}{newline}" + source.format(words) + f"{newline}<p>{words}"
    if encoding == "utf-16-be-bom":
        data = b"\xfe\xff" + text.encode("utf-16-be")
    else:
        data = text.encode(encoding)
    page = pages.read(data, ".html")
    assert [(s.src, s.alt) for s in page.slots] == [("a.png", words)]
    assert page.contexts[0].after == words
    for new in ("Plain", words, "가 é ’ 🎉 & <b>"):
        result = pages.rewrite(data, ".html", {0: new})
        assert pages.read(result, ".html").slots[0].alt == new
        assert pages.rewrite(result, ".html", {0: words}) == data


@pytest.mark.parametrize("data", [b"\0\1\2\3", b"PNG\0\0", b"\xff\xfe\0"])
def test_bytes_that_are_no_text_are_refused(data: bytes) -> None:
    try:
        page = pages.read(data, ".md")
    except PageError:
        return
    assert page.slots == ()
    assert page.text.encode(page.encoding) == data


@pytest.mark.parametrize(
    "charset",
    ["utf-7", "rot13", "hex", "unicode_escape", "idna", "zip", "no-such", "mbcs", "undefined"],
)
def test_odd_charsets_never_break_a_page(charset: str) -> None:
    data = f"<meta charset={charset}><img src=a.png alt='\\u00e9 +AGE- x'>".encode() + b"\xe9"
    assert pages.read(data, ".html").slots[0].alt == "\\u00e9 +AGE- x"


PIECES = st.lists(
    st.sampled_from(
        [
            *(
                "![",
                "](",
                ")",
                "]",
                "[",
                "a.png",
                "\n",
                "\n\n",
                "\r\n",
                "\r",
                "<img ",
                "src=",
                "alt=",
                '"',
                "'",
                ">",
                "/>",
            ),
            *(
                "{%",
                "%}",
                "{{",
                "}}",
                "{{<",
                ">}}",
                "image ",
                "figure ",
                '"a.png"',
                '"x"',
                "<!--",
                "-->",
                "`",
                "```\n",
                "    ",
            ),
            *(
                "> ",
                "- ",
                "\t",
                "|",
                "|-|-|\n",
                "# ",
                "---\n",
                "+++\n",
                "<a href=x>",
                "</a>",
                "<figure>",
                "<figcaption>",
                "</",
            ),
            *(
                "&amp;",
                "&",
                "\\",
                "가",
                "🎉",
                "\ue000",
                "\uf8ff",
                "\x0b",
                "\x0c",
                "\u2028",
                "\x85",
                "\x00",
                "title: t\n",
                "<script>",
            ),
            *(
                "[r]: a.png\n",
                "![r]",
                "[r]",
                "<![CDATA[",
                "<?",
                "<!",
                "*",
                "_",
                "<pre>",
                "{# ",
                " #}",
                "{% raw %}",
                "{% endraw %}",
            ),
        ]
    ),
    max_size=25,
).map("".join)


@given(PIECES, st.sampled_from([".md", ".html"]), st.sampled_from(["utf-8", "utf-16"]))
@settings(max_examples=600, deadline=None)
def test_no_page_breaks_the_reader(source: str, suffix: str, encoding: str) -> None:
    data = source.encode(encoding)
    try:
        page = pages.read(data, suffix)
    except PageError:
        assert "\0" in source
        return
    assert page.text.encode(page.encoding) == data
    for slot in page.slots:
        assert 0 <= slot.start <= slot.end <= len(page.text)
    for number, slot in enumerate(page.slots):
        if slot.writable:
            try:
                result = pages.rewrite(data, suffix, {number: "new words"})
            except PageError:
                continue  # told, and nothing was changed
            again = pages.read(result, suffix).slots
            assert [s.src for s in again] == [s.src for s in page.slots]
            assert again[number].alt == "new words"
