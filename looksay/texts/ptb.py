"""Tokens of captions as the Penn Treebank tokeniser of the COCO evaluation gives them, without Java.

The reference is CoreNLP 3.4.1's PTBTokenizer with -preserveLines -lowerCase, after which the COCO code
drops seventeen tokens of punctuation and the scorers split at white space. Like it, `tokenize` takes at
each place the longest match of any rule; the rules are ours, and were found and checked by giving the
reference texts. Here each run of characters without white space is a matter of its own, which makes
repeated words free. Known to differ, all rare in captions: tags and telephone numbers with a space
inside, some web addresses, rarer smileys and elisions ("j'ai"), runs of three quotes, letters that Unicode
gained after 2010. Of 4,837 captions, alt texts and answers of chats, 13 had other tokens than the
reference gives. A mixed number ("22 3/4") is two tokens here, as for BLEU and CIDEr there; ROUGE there
takes it for one. Line breaks other than "\\n" are white space here; there they shift the tokens of all
captions that follow.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache

_DROPPED = frozenset(
    "'' ' `` ` . ? ! , : - -- --- ---- ... ; ’ ‐ ‑ \0".split(" ")  # noqa: SIM905, as a row it can be read
)
"""The tokens that the COCO code drops. Its list also names -LRB- and its kin in capitals, which never
occur once the tokens are lower-cased: brackets stay, as -lrb- and -rrb-. Up to four hyphens are a dash
there; the last four are written otherwise there, or come from here."""

_BRACKETS = {
    "(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-",
}  # fmt: skip
_ENTITIES = {
    "&amp;": "&", "&lt;": " < ", "&gt;": " > ", "&quot;": " ", "&apos;": "'", "&nbsp;": " ",
    "&mdash;": " -- ", "&ndash;": " -- ",
}  # fmt: skip
_SPELLED = {
    "“": " ", "”": " ", "«": " ", "»": " ", "‘": "`", "‛": "`", "‹": "`", "›": " ", "’": "’",
    "…": " ... ", "–": " -- ", "—": " -- ", "―": " -- ", "‐": "‐", "‑": "‑", "\u00ad": "",
    "€": "$", "¤": "$", "£": " # ", "¢": " cents ",
    "¼": " 1/4 ", "½": " 1/2 ", "¾": " 3/4 ", "⅓": " 1/3 ", "⅔": " 2/3 ",
}  # fmt: skip
"""Signs that become others, or go. Double quotes of every kind are dropped in the end."""
_SYMBOL = re.compile(
    "[¡¥-©¬®-´¶-¹¿×÷‚-„‖‗†-•‣‰-‸※‾-⁂⁄⁰⁴-₎₤℀℃-℆№-℘℞-℣Ω℮⅀-⅄⅊-⅍⅕-⅞\u2190-\u2bff、。〒・！-／：-＠［-｀｛-･]"
)
"""Signs that are a token each, whatever stands beside them."""

_ALWAYS = """mr mrs ms dr prof rev st jr sr sgt capt col gen lt cmdr gov sen rep pres hon inc ltd co corp
bros vs etc jan feb mar apr jun jul aug sep sept oct nov dec mt ft ave blvd rd mlle mme messrs dept est al
sq mon tue tues wed thu thurs fri ala ariz calif colo conn fla ga ind kan ky md mich minn mo mont neb nev
okla penn tenn va vt wis wyo ph esq maj pvt pte cpl adm supt insp atty cie univ assn bhd bldg mfg intl cf
ext tel ct brig comdr det rt natl drs ph.d"""
"""Abbreviations that keep their period, also as a caption's last word."""
_CAPITAL = "Miss Ark Del Ill La Mass Ore Pa Tex Wash"
"""Those that keep it where they begin with a capital; otherwise they are words."""
_NUMBERED = "no nos fig figs pp art ca op"
"""Those that keep it before a number."""
_STARTERS = """A About According Additionally After An As At But Earlier He Her Here However If In It Last
Many Mr. Ms. More Now Once One Other Our She Since So Some Such That The Their Then There These They This
We What When While Yet You"""
"""Words before which, with a capital, a single letter loses its period: "in room B. The dog". There the
next caption counts as what follows; here a caption ends as if the next began with one of these words."""

_CLITICS = frozenset({"'s", "'m", "'d", "'re", "'ve", "'ll", "n't"})
_PARTED = {
    "cannot": 3, "gonna": 3, "gotta": 3, "lemme": 3, "gimme": 3, "wanna": 3,
    "'tis": 2, "'twas": 2, "y'all": 2, "y'know": 2,
}  # fmt: skip
"""Words written as two, and where the second begins."""
_ELIDED = "ma'am c'mon s'mores cap'n hallowe'en hawai'i xi'an e'er ne'er li'l ol' 'em 'til 'cause"
"""Words that keep their apostrophe."""


def _any(words: str) -> str:
    return "|".join(re.escape(word) for word in sorted(words.split(), key=len, reverse=True))


_MARK = (
    "\u0300-\u036f\u0483-\u0487\u0591-\u05c7\u0610-\u061a\u064b-\u065e\u0670\u06d6-\u06ed"
    "\u0900-\u0903\u093c-\u094e\u0951-\u0955\u0962\u0963\u0981-\u0983\u09bc-\u09cd\u0a01-\u0a03"
    "\u0a3c-\u0a4d\u0a81-\u0a83\u0abc-\u0acd\u0b82\u0bbe-\u0bcd\u0c01-\u0c03\u0c3e-\u0c56"
    "\u0d3e-\u0d44\u0e31\u0e34-\u0e3a\u0e47-\u0e4e\u0eb1-\u0ebc\u0ec8-\u0ecd"
)
_A = rf"(?:[^\W\d_]|[{_MARK}])"  # a letter
_N = rf"(?:[^\W_]|[{_MARK}])"  # a letter or digit
_D = rf"(?:[dol]['’]{_N})"  # d'angelo, o'brien
_NUMBER = r"[-+]?\d*(?:[.,:]\d+)+|[-+]?\d+(?:[.,:]\d+)*"
_ACRONYM = r"(?:[a-z]\.)+[a-z]"


@cache
def _rules() -> tuple[re.Pattern[str], ...]:
    """Compiled when they are first needed: it takes a twentieth of a second, which programs that only clean an answer
    need not wait for."""
    return tuple(
        re.compile(rule, re.IGNORECASE)
        for rule in (
            rf"{_A}{_N}*(?:[.!?]{_A}{_N}*)*",  # dog, dog.cat
            rf"{_D}?(?:{_N}+|\d*(?:[.,]\d+)+)(?:[-‐‑]{_D}?{_N}+)*",  # 12-inch, 2.5-inch
            rf"{_N}(?:{_N}|[.,])*(?:[-_](?:{_ACRONYM}\.|{_N}+))+",  # u.s.-made, 5,000-foot
            r"[a-z\d]+(?:-[a-z]+){0,2}(?:/[a-z\d]+(?:-[a-z]+){0,2}){1,2}",  # and/or, a-b/c-d
            _NUMBER,
            r"\d{1,2}[-/]\d{1,2}[-/]\d{2,4}|(?:\d{1,4}-)?\d{1,4}/\d{1,4}",  # dates and fractions
            rf"{_ACRONYM}\.|[a-z]\.|(?:{_any(_ALWAYS)})\.",  # u.s., j., mr.
            rf"(?-i:{'|'.join(word.upper() for word in _CAPITAL.split())})\.",
            rf"(?-i:{_any(_CAPITAL)})\.",
            rf"(?:{_any(_NUMBERED)})\.(?=\0?\d)|{_N}+\.(?=[,;:])",
            rf"({_A}{_N}*?)n['’`]t(?!{_A})",  # do of don't
            rf"n['’`]t(?!{_A})|['’](?:s|m|d|re|ve|ll)(?!{_A})",
            rf"['’]n(?:['’]|(?!{_A}))|['’]\d\d(?:s(?!{_N})|$)",  # rock 'n' roll, the '90s
            rf"(?:{_any(_ELIDED)}|{_any(' '.join(_PARTED))})(?!{_A})".replace("'", "['’]"),
            r"(?:https?://|www\.)[^\s<>]+[^\s<>.,!?;:'()]",
            r"[a-z\d](?:[\w.+-]*[a-z\d])?@[a-z\d]+(?:[.-][a-z\d]+)*|@[a-z]\w*|\#[a-z]+",  # a@b.com, @user, #tag
            r"c\+\+|[cf]\#",
            r"(?-i:[A-Z]+(?:[&+][A-Z]+)+|[A-Z]*\$)",  # AT&T, US$
            r"[a-z\d.]*[a-z\d]\.(?:jpe?g|png|gif|bmp|pdf|docx?|txt|html?|xml|zip|mp3|py)(?![a-z])",
            r"</?[a-z!][^<>]*>|&\#?\w+;",
            rf"[:;=][o'-]?[()\[\]{{@dp](?!{_N})",  # smileys
            r"-+|\.{3,}|[!?]+|\#+|@+|\*+|_+|<+|>+|''|``",
        )
    )


def tokenize(caption: str) -> list[str]:
    """Lower-cased tokens of a caption, without punctuation, in order.

    >>> tokenize('A man\\'s dog (brown) isn\\'t "running".')
    ['a', 'man', "'s", 'dog', '-lrb-', 'brown', '-rrb-', 'is', "n't", 'running']
    """
    text = caption.replace('"', " ")
    if not text.isascii():
        text = "".join(c if c.isascii() else _foreign(c) for c in text)
    if "&" in text:
        for entity, sign in _ENTITIES.items():
            text = text.replace(entity, sign)
    if "." in text:
        text = _BEFORE_NUMBER.sub(r"\1\0", _BEFORE_STARTER.sub(r"\1 ", text))
    found: list[str] = []
    for chunk in text.split():
        found += _tokens(chunk)
    return found


_BEFORE_NUMBER = re.compile(rf"((?<!\w)(?:{_any(_NUMBERED)})\.)\s(?=\d)", re.IGNORECASE)
_BEFORE_STARTER = re.compile(
    rf"(?<![\w.])([a-zA-Z])\.(?=\s*$|\s+(?=[A-Z])(?i:{_any(_STARTERS)})(?![\w.]))"
)


@lru_cache(maxsize=4096)
def _foreign(sign: str) -> str:
    if sign in _SPELLED:
        return _SPELLED[sign]
    if sign > "\uffff":  # the reference knows no sign beyond the basic plane
        return " "
    if sign.isalpha() or sign.isdecimal() or re.match(f"[{_MARK}]", sign):
        return sign
    return f" {sign} " if _SYMBOL.match(sign) else " "


@lru_cache(maxsize=1 << 16)
def _tokens(chunk: str) -> tuple[str, ...]:
    """The tokens of a text without white space."""
    found: list[str] = []
    start = 0
    while start < len(chunk):
        matches = [m for m in (rule.match(chunk, start) for rule in _rules()) if m]
        best = max(matches, key=lambda m: m.end(), default=None)
        if best is None or best.end() == start:
            piece = chunk[start]
        else:
            piece = best[1] if best.re.groups else best[0]
        start += len(piece)
        found += _written(piece.lower())
    return tuple(token for token in found if token not in _DROPPED)


def _written(piece: str) -> list[str]:
    straight = piece.replace("’", "'")
    if straight in _PARTED:
        return [straight[: _PARTED[straight]], straight[_PARTED[straight] :]]
    if straight in _CLITICS:
        return [straight]
    if piece[0] in "([{)]}:;=":
        return ["".join(_BRACKETS.get(sign, sign) for sign in piece)]
    if not piece.strip(".") or not piece.isprintable():
        return []
    return [piece]
