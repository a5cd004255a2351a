"""Tokens of captions as the Penn Treebank tokeniser of the COCO evaluation gives them, without Java.

The reference is CoreNLP 3.4.1's PTBTokenizer with -preserveLines -lowerCase, after which the COCO code
drops seventeen tokens of punctuation. The rules here are ours and cover what captions contain. Known to
differ: a mixed number ("22 3/4") is one token there, with a no-break space at which CIDEr then splits,
and two here.
"""

from __future__ import annotations

import re

_DROPPED = frozenset({"''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";"})
"""The tokens that the COCO code drops. Its list also names -LRB- and its kin in capitals, which never
occur once the tokens are lower-cased: brackets stay, as -lrb- and -rrb-."""

_SPELLED = {
    "“": '"', "”": '"', "„": '"', "«": '"', "»": '"', "‘": "'", "’": "'", "‛": "'", "´": "'",
    "…": "...", "–": "--", "—": "--", "\u00ad": "", "\u00a0": " ", "\u2009": " ",
    "€": "$", "£": "#", "½": "1/2", "¼": "1/4", "¾": "3/4",
}  # fmt: skip
_TO_ASCII = str.maketrans(_SPELLED)
_BRACKETS = {
    "(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-",
}  # fmt: skip

_TITLES = (
    "mr mrs ms dr prof rev st jr sr sgt capt col gen lt cmdr gov sen rep pres hon inc ltd co corp bros "
    "vs etc jan feb mar apr jun jul aug sep sept oct nov dec mt ft ave blvd rd"
)
"""Abbreviations that keep their period, also as a caption's last word."""
_ENDING = "(?:'(?:s|m|d|re|ve|ll)|n't)"
_JOINED = {"cannot": 3, "gonna": 3, "gotta": 3, "lemme": 3, "gimme": 3, "wanna": 3}
"""Words written as two, and where the second begins."""

_WORD = r"[^\W_]+(?:[_'][^\W_]+)*"
_TOKEN = re.compile(
    rf"""
      (?:https?://|www\.)[^\s<>"]+[^\s<>".,!?;:'()]      # addresses
    | [\w.+-]+@[\w-]+(?:\.[\w-]+)+
    | 's(?![^\W_])                                       # a clitic that stands alone
    | (?:[^\W\d_]\.){{2,}}                                 # u.s., p.m., e.g.
    | (?:{_TITLES.replace(" ", "|")})\.(?![^\W_]) | no\.(?=\s*\d)  # mr., st., no. 5
    | [+-]?(?:\d+(?:[,.:/]\d+)*|\.\d+)(?![^\W\d_]|-[^\W_])  # 5, 5.00, 1,000, 5:30, 1/2, not 3rd
    | {_WORD}(?:(?:[-/&.]){_WORD})*                      # words with hyphens, slashes, dots inside
    | \.{{2,}} | -{{2,}} | [!?]{{2,}}                    # runs are one token
    | '' | `` | \S
    """,
    re.VERBOSE,
)
_CLITIC = re.compile(rf"^(.+?)({_ENDING})$")


def tokenize(caption: str) -> list[str]:
    """Lower-cased tokens of a caption, without punctuation, in order.

    >>> tokenize('A man\\'s dog (brown) isn\\'t "running".')
    ['a', 'man', "'s", 'dog', '-lrb-', 'brown', '-rrb-', 'is', "n't", 'running']
    """
    plain = caption.translate(_TO_ASCII).lower()
    found: list[str] = []
    for piece in _TOKEN.findall(plain):
        found.extend(_split(piece))
    return [token for token in found if token not in _DROPPED and token != '"']


def _split(piece: str) -> list[str]:
    if piece in _BRACKETS:
        return [_BRACKETS[piece]]
    if piece in _JOINED:
        return [piece[: _JOINED[piece]], piece[_JOINED[piece] :]]
    clitic = _CLITIC.match(piece)
    return [clitic[1], clitic[2]] if clitic else [piece]
