"""The published prompt templates of the LLaVA line and of OpenFlamingo, as text with the answers where they stand.

Wording and separators as in LLaVA's `conversation.py` (v1.2); "{text}" is the user's turn. None of them
takes its end-of-answer mark from a file: EOS stands for the tokenizer's own end token.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from looksay.errors import InputError, UnknownName
from looksay.types import Role

EOS = "\0eos"
"""In a template: the tokenizer's end token."""


@dataclass(frozen=True, slots=True)
class Template:
    """One published form. Turns are user, assistant, user, ...; a system message replaces `system`."""

    system: str = ""
    wrap: str = ""
    """How a system text, where there is one, is written: "{system}"."""
    first: str = "{text}"
    """The first user turn up to the answer; "{system}" is the wrapped system text."""
    later: str = "{text}"
    """Every further user turn up to the answer."""
    lead: str = ""
    """Stands before an answer and is learned with it (a space, which is part of a word's first token)."""
    end: str = EOS
    """Ends an answer, and is learned."""
    plain: bool = False
    """Stage 1: images and answer only; the question is left out."""
    in_place: bool = False
    """Images stay where they are said, right before the words that follow; else they go to the front."""
    image: str = "{image}\n"
    """How an image at the front is written."""


_LLAMA_SYSTEM = "<<SYS>>\n{system}\n<</SYS>>\n\n"

TEMPLATES = {
    "plain": Template(first="", end="\n", plain=True),
    "v0": Template(
        system="A chat between a curious human and an artificial intelligence assistant. The assistant "
        "gives helpful, detailed, and polite answers to the human's questions.",
        wrap="{system}###",
        first="{system}Human: {text}###Assistant:",
        later="Human: {text}###Assistant:",
        lead=" ",
        end="###",
    ),
    "v1": Template(
        system="A chat between a curious user and an artificial intelligence assistant. The assistant "
        "gives helpful, detailed, and polite answers to the user's questions.",
        wrap="{system} ",
        first="{system}USER: {text} ASSISTANT:",
        later="USER: {text} ASSISTANT:",
        lead=" ",
    ),
    "llama_2": Template(
        system="You are a helpful language and vision assistant. You are able to understand the visual "
        "content that the user provides, and assist the user with a variety of tasks using natural "
        "language.",
        wrap=_LLAMA_SYSTEM,
        first="[INST] {system}{text} [/INST]",
        later="<s>[INST] {text} [/INST]",
        lead=" ",
        end=f" {EOS}",
    ),
    "mistral": Template(
        wrap=_LLAMA_SYSTEM,
        first="[INST] {system}{text} [/INST]",
        later="[INST] {text} [/INST]",
        lead=" ",
        end=f" {EOS}",
    ),
    "mpt": Template(
        system="A conversation between a user and an LLM-based AI assistant. The assistant gives helpful "
        "and honest answers.",
        wrap="<|im_start|>system\n{system}<|im_end|>",
        first="{system}<|im_start|>user\n{text}<|im_end|><|im_start|>assistant\n",
        later="<|im_start|>user\n{text}<|im_end|><|im_start|>assistant\n",
        end="<|im_end|>",
    ),
    # MiniGPT-4's, chatting (minigpt4/conversation/conversation.py) and in its second stage, where no system text
    # stands before the pair (minigpt4/datasets/datasets/cc_sbu_dataset.py).
    "minigpt4": Template(
        system="Give the following image: <Img>ImageContent</Img>. You will be able to see the image once I "
        "provide it to you. Please answer my questions.",
        wrap="{system}",
        first="{system}###Human: {text} ###Assistant:",
        later="###Human: {text} ###Assistant:",
        lead=" ",
        end="###",
        image="<Img>{image}</Img> ",
    ),
    "minigpt4_pairs": Template(
        wrap="{system}",
        first="{system}###Human: {text} ###Assistant:",
        later="###Human: {text} ###Assistant:",
        lead=" ",
        end="###",
        image="<Img>{image}</Img> ",
    ),
    # OpenFlamingo's (open_flamingo/eval/eval_model.py): nothing but pictures, words and the end of a chunk.
    "flamingo": Template(
        wrap="{system}",
        first="{system}{text}",
        end="<|endofchunk|>",
        in_place=True,
    ),
}


def find(name: str) -> Template:
    """The template of that name. Raises UnknownName, listing what there is."""
    if name not in TEMPLATES:
        raise UnknownName("prompt template", name, TEMPLATES)
    return TEMPLATES[name]


def render(name: str, turns: Sequence[tuple[Role, str]], eos: str, image_token: str) -> str:
    """The whole conversation as text. Raises InputError where the roles do not alternate."""
    template = find(name)
    system, rest = template.system, list(turns)
    if rest and rest[0][0] == "system":
        system = rest.pop(0)[1]
    if template.plain and len(rest) != 2:
        raise InputError(
            f"The template 'plain' takes one question and one answer; here are {len(rest)} turns. "
            "Use a template for chats, such as 'v1'."
        )
    written: list[str] = []
    for number, (role, text) in enumerate(rest):
        expected = "assistant" if number % 2 else "user"
        if role != expected:
            raise InputError(
                f"The template {name!r} takes user and assistant in turns: turn {number + 1} is "
                f"{role!r}, expected {expected!r}."
            )
        if role == "assistant":
            written.append(template.lead + text + template.end.replace(EOS, eos))
            continue
        if template.in_place:
            text = text.replace(f"{image_token}\n", image_token)
        else:
            text = _images_first(
                text, template.image, image_token
            )  # preprocess_multimodal of LLaVA's train.py
        if template.plain:
            written.append(image_token * text.count(image_token))
            continue
        form = template.later if written else template.first
        # by hand: str.format would trip over braces in the user's words
        before, _, after = form.partition("{text}")
        head = template.wrap.replace("{system}", system) if system else ""
        written.append(before.replace("{system}", head) + text + after)
    return "".join(written)


def _images_first(text: str, form: str, image_token: str) -> str:
    count = text.count(image_token)
    if not count:
        return text
    words = "\n".join(part.strip() for part in text.split(image_token) if part.strip())
    return form.replace("{image}", image_token) * count + words
