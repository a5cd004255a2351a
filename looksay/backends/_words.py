"""What servers say that must not pass as it is: refusals in place of a text, keys inside a message."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import quote

_REFUSAL = re.compile(
    r"""^\W*(?:
      (?:(?:i['’]?m|i\ am|we['’]?re)\ (?:very\ |really\ |so\ )?sorry|sorry|i\ apologi[sz]e|unfortunately)
        [\s,.;:—-]+(?:but\s+)?(?:as\ an?\ [\w\s]{0,30}(?:ai|model|assistant),?\s+)?
        (?:i|we)(?:['’]m|\ am)?\s*(?:can(?:['’]t|\s?not)|unable|not\ able|won['’]t|will\ not)
    | (?:as\ an?\ [\w\s]{0,30}(?:ai|model|assistant)[\w\s]{0,20},?\s+)?
        i(?:\ can(?:['’]t|\s?not)|['’]m\ (?:unable|not\ able)\ to|\ am\ (?:unable|not\ able)\ to|\ won['’]t)\s+
        (?:assist|help|comply|provide|process|identify|describe|discuss|fulfill|complete|support
           |view|see|analy[sz]e|generate|create)\b
    | (?:lo\ siento|désolée?|je\ suis\ désolée?|es\ tut\ mir\ leid|tut\ mir\ leid|mi\ dispiace|desculpe)
        [\s,.]+(?:\w+\s+){0,3}?(?:no\ puedo|je\ ne\ peux\ pas|kann\ ich|ich\ kann|non\ posso|não\ posso)
    | (?:죄송|미안)[^.!?]{0,60}(?:없습니다|없어요|어렵습니다)
    | (?:申し訳|すみません)[^.!?]{0,60}(?:できません|できかねます)
    | (?:抱歉|对不起|很抱歉)[^.!?]{0,40}(?:无法|不能)
    )""",
    re.IGNORECASE | re.VERBOSE,
)


def is_refusal(text: str) -> bool:
    """Whether a text is plainly a refusal: short, and it opens with one. No model's name is looked at.

    >>> is_refusal("I'm sorry, but I can't assist with that request.")
    True
    >>> is_refusal("Sorry, we are closed: a sign on a shop door.")
    False
    """
    return len(text) < 600 and _REFUSAL.match(text) is not None


def scrub(text: str, secrets: Iterable[str] = ()) -> str:
    """The text without keys: those given, and whatever looks like one."""
    for secret in secrets:
        for form in {secret, quote(secret, safe="")} - {""}:
            text = text.replace(form, "***")
    text = re.sub(r"\b(?:sk|pk|rk)-[\w*-]{6,}|\bAIza[\w-]{20,}", "***", text)
    return re.sub(r"(?i)\b(bearer|api[-_ ]?key[=:])\s*[\w.*-]{8,}", r"\1 ***", text)
