"""Answers that follow a JSON schema: of each word's scores those fall away that would leave it (llguidance)."""

# ruff: noqa: N803, N806 (shape suffixes are capitals)

from __future__ import annotations

from functools import cached_property, lru_cache
from typing import Any

from looksay.errors import InputError, MissingDependency


class Grammars:
    """The schemas that a tokenizer can be held to."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.compiled = lru_cache(maxsize=64)(self._compiled)

    @cached_property
    def _words(self) -> Any:
        try:
            import llguidance.hf
        except ImportError as error:
            raise MissingDependency("response_format json_schema", "serve", "llguidance") from error
        return llguidance.hf.from_tokenizer(self._tokenizer, n_vocab=None)

    def _compiled(self, schema: str) -> str:
        words = self._words
        from llguidance import LLMatcher

        try:
            # Space between the parts is no freedom that a small model uses well: it may write nothing else.
            grammar: str = LLMatcher.grammar_from_json_schema(
                schema, defaults={"whitespace_flexible": False}
            )
        except ValueError as error:
            raise InputError(f"The JSON schema cannot be followed: {error}") from error
        if fault := LLMatcher.validate_grammar(grammar, words):
            raise InputError(f"The JSON schema cannot be followed: {fault}")
        return grammar

    def check(self, schema: str) -> None:
        """Raise InputError where the schema is none, or asks for what cannot be held to; MissingDependency."""
        self.compiled(schema)

    def matcher(self, schema: str) -> Matcher:
        """Where one answer is in the schema."""
        from llguidance import LLMatcher

        return Matcher(LLMatcher(self._words, self.compiled(schema)), self._words.vocab_size)


class Matcher:
    """One answer on its way through a schema."""

    def __init__(self, matcher: Any, words: int) -> None:
        from llguidance.torch import allocate_token_bitmask

        self._matcher, self._words = matcher, words
        self._mask = allocate_token_bitmask(1, words)

    def allowed(self, scores_V: Any) -> Any:
        """The scores, minus infinity where a word would leave the schema."""
        from llguidance.torch import apply_token_bitmask_inplace, fill_next_token_bitmask

        fill_next_token_bitmask(self._matcher, self._mask, 0)
        held_V = scores_V.float().clone()  # they may be a view of others'
        held_V[self._words :] = float("-inf")  # models have rows to spare
        apply_token_bitmask_inplace(held_V[None, : self._words], self._mask.to(held_V.device))
        return held_V

    def take(self, token: int) -> bool:
        """The id that was chosen; whether the answer is complete with it."""
        self._matcher.consume_token(token)
        return bool(self._matcher.is_stopped())
