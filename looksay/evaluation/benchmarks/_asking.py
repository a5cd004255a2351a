"""How items are asked where their benchmark leaves it open."""

SHORTLY = "Answer the question using a single word or phrase."
"""What LLaVA-1.5 adds to a question that wants a short answer (its scripts, llava/eval)."""
LETTER = "Answer with the option's letter from the given choices directly."
"""What LLaVA-1.5 adds to a question with lettered options."""
SHORT = 32
"""Tokens that a short answer or a caption of one sentence may take."""
CAPTION = "Provide a one-sentence caption for the provided image."
"""How LLaVA-1.5's mixture asks for the short captions of TextCaps (its paper's table of data)."""
DETAIL = "Describe this image in detail."
"""A request for a long description."""
LONG = 512
"""Tokens that a long description may take."""
