"""How items are asked where their benchmark leaves it open."""

SHORTLY = "Answer the question using a single word or phrase."
"""What LLaVA-1.5 adds to a question that wants a short answer (its scripts, llava/eval)."""
LETTER = "Answer with the option's letter from the given choices directly."
"""What LLaVA-1.5 adds to a question with lettered options."""
SHORT = 32
"""Tokens that a short answer may take."""
