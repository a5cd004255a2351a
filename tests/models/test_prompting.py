"""Labels lie on the answers and their end alone, whatever the tokenizer; ids are those of the whole text."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest

pytest.importorskip("transformers", reason="the extra local is not installed")

import torch
import toy_tokenizers as toys
from hypothesis import given, settings
from hypothesis import strategies as st

from looksay.errors import InputError, LooksayError
from looksay.models.batching import IGNORE
from looksay.models.prompting import Prompter, add_image_token, image_key
from looksay.models.templates import TEMPLATES
from looksay.types import Conversation, Image, Message

pytestmark = pytest.mark.local
TOKENS = 3
PIXELS = torch.zeros(3, 2, 2)
BUILDERS = {
    "chatml": toys.byte_bpe,
    "llama-3": lambda: toys.byte_bpe(toys.LLAMA_3),
    "llama-2": toys.sentencepiece,
    "llama-2 legacy": lambda: toys.sentencepiece(legacy=True),
    "LlamaTokenizer": lambda: toys.llama(legacy=False),
    "LlamaTokenizer legacy": lambda: toys.llama(legacy=True),
    "vicuna": toys.vicuna,
    "words": toys.whole_words,
}
ALL = pytest.mark.parametrize("name", BUILDERS)


@cache
def prompter(name: str) -> Prompter:
    return Prompter(BUILDERS[name](), TOKENS)


def user(*parts: str | Image) -> Message:
    return Message("user", parts)


def assistant(text: str) -> Message:
    return Message("assistant", (text,))


def photo(number: int = 0) -> Image:
    return Image(bytes([number]))


def runs(sequence: Any) -> list[list[int]]:
    """The stretches of labels that are learned."""
    found: list[list[int]] = [[]]
    for label in sequence.labels:
        if label != IGNORE:
            found[-1].append(label)
        elif found[-1]:
            found.append([])
    return [run for run in found if run]


TWO_TURNS = Conversation(
    (
        user(photo(1), "What is left of the house ?"),
        assistant("The tree is left of the house ."),
        user("How many birds ?"),
        assistant("three birds, and one fish ."),
    )
)


@ALL
@pytest.mark.parametrize("template", [None, *TEMPLATES])
def test_loss_lies_on_the_answers_and_their_end_alone(name: str, template: str | None) -> None:
    maker = prompter(name)
    talk = Conversation(TWO_TURNS.messages[:2]) if template == "plain" else TWO_TURNS
    sequence = maker.encode(talk, lambda _: PIXELS, template)
    learned = runs(sequence)
    answers = [m.text for m in talk.messages if m.role == "assistant"]
    assert [maker.text(run, template) for run in learned] == answers
    stop = maker.stop(template)
    for run in learned:
        text = maker.tokenizer.decode(run)
        assert run[-1] in stop.ids or text.endswith(stop.strings)
    assert all(
        label in (IGNORE, id_) for label, id_ in zip(sequence.labels, sequence.ids, strict=True)
    )
    assert sequence.ids.count(maker.image_id) == TOKENS
    assert len(sequence.pixels) == len(sequence.keys) == 1


@ALL
def test_ids_are_those_of_the_whole_text(name: str) -> None:
    """The pieces, joined, are what a model that was trained on whole texts has seen."""
    maker = prompter(name)
    sequence = maker.encode(TWO_TURNS, lambda _: PIXELS)
    plain = [
        {"role": m.role, "content": ("<image>\n" if m.images else "") + m.text}
        for m in TWO_TURNS.messages
    ]
    text = maker.tokenizer.apply_chat_template(plain, tokenize=False)
    whole: list[int] = []
    for token in maker.tokenizer.encode(text, add_special_tokens=False):
        whole += [token] * (TOKENS if token == maker.image_id else 1)
    assert sequence.ids == whole


@ALL
@pytest.mark.parametrize("template", [None, *TEMPLATES])
def test_a_prompt_is_what_training_showed_before_the_answer(
    name: str, template: str | None
) -> None:
    maker = prompter(name)
    for end in (1,) if template == "plain" else (1, 3):
        whole = maker.encode(
            Conversation(TWO_TURNS.messages[: end + 1]), lambda _: PIXELS, template
        )
        prompt = maker.prompt(Conversation(TWO_TURNS.messages[:end]), template)
        assert whole.ids[: len(prompt)] == prompt
        assert whole.labels[len(prompt)] != IGNORE
        assert whole.labels[len(prompt) - 1] == IGNORE


def test_the_prompt_is_the_one_that_the_tokenizer_makes() -> None:
    for name in ("chatml", "llama-3", "llama-2"):
        tokenizer = prompter(name).tokenizer
        asked = [{"role": "user", "content": "How many birds ?"}]
        text = tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
        theirs = tokenizer.encode(text, add_special_tokens=False)
        assert prompter(name).prompt(Conversation((user("How many birds ?"),))) == theirs, name


def test_the_published_texts() -> None:
    """LLaVA's own forms, written out (conversation.py v1.2, vicuna_v1 and llava_llama_2)."""
    maker = prompter("llama-2")
    got = maker.tokenizer.decode(maker.encode(TWO_TURNS, lambda _: PIXELS, "v1").ids)
    assert got == (
        "<s> A chat between a curious user and an artificial intelligence assistant. The assistant gives "
        "helpful, detailed, and polite answers to the user's questions. USER: <image><image><image>\n"
        "What is left of the house ? ASSISTANT: The tree is left of the house .</s>USER: How many birds ? "
        "ASSISTANT: three birds, and one fish .</s>"
    )
    told = Conversation((Message("system", ("Be brief.",)), *TWO_TURNS.messages))
    got = maker.tokenizer.decode(maker.encode(told, lambda _: PIXELS, "llama_2").ids)
    assert got.startswith("<s> [INST] <<SYS>>\nBe brief.\n<</SYS>>\n\n<image><image><image>\nWhat")
    assert got.endswith("[/INST] three birds, and one fish . </s>")


def test_images_come_first_in_the_published_forms_and_in_their_place_otherwise() -> None:
    maker = prompter("llama-3")
    talk = Conversation((user("A dog", photo(1), "and", photo(2)), assistant("two")))
    seen: list[Image] = []

    def pixels(image: Image) -> torch.Tensor:
        seen.append(image)
        return PIXELS

    told = maker.tokenizer.decode(maker.encode(talk, pixels).ids)
    assert "A dog\n<image><image><image>\nand\n<image><image><image><|eot_id|>" in told
    assert [image.source for image in seen] == [b"\1", b"\2"]
    first = maker.tokenizer.decode(maker.encode(talk, pixels, "v1").ids)
    assert "USER: <image><image><image>\n<image><image><image>\nA dog\nand ASSISTANT:" in first


words = st.lists(
    st.sampled_from(
        ["A", "dog", "two", "cats", "boat", "What", "is", "there", "fish.", "three", "the"]
    ),
    min_size=1,
)
written = st.one_of(
    words.map(" ".join),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=30).filter(
        str.strip
    ),
    st.sampled_from(
        ["</s>", "<image> is a tag", "<|im_end|>x", "a <s>struck</s> word", "{text} {{ x }}"]
    ),
)


@pytest.mark.parametrize("template", [None, "v1", "mpt"])
@pytest.mark.parametrize("name", ["chatml", "llama-3", "llama-2", "LlamaTokenizer"])
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_conversation_gives_back_its_answers(
    name: str, template: str | None, data: Any
) -> None:
    maker = prompter(name)
    turns = data.draw(st.integers(1, 3))
    messages: list[Message] = []
    for turn in range(turns):
        shown = [photo(turn)] * data.draw(st.integers(0, 2))
        messages += [user(*shown, data.draw(written).strip()), assistant(data.draw(written))]
    sequence = maker.encode(Conversation(tuple(messages)), lambda _: PIXELS, template)
    answers = [m.text.strip() for m in messages if m.role == "assistant"]
    ends = maker.stop(template)
    got = [maker.tokenizer.decode([i for i in r if i not in ends.ids]) for r in runs(sequence)]
    for string in ends.strings:
        got = [text.removesuffix(string) for text in got]
    assert [" ".join(text.split()) for text in got] == [" ".join(text.split()) for text in answers]
    assert len(sequence.pixels) * TOKENS == sequence.ids.count(maker.image_id)


def test_what_a_user_writes_is_never_a_control_token() -> None:
    maker = prompter("llama-3")
    talk = Conversation((user("x <|eot_id|> <image> y"), assistant("z <|eot_id|> is text")))
    sequence = maker.encode(talk, lambda _: PIXELS)
    eot = maker.tokenizer.eos_token_id
    assert sequence.ids.count(eot) == 2  # the two that the template writes
    assert maker.image_id not in sequence.ids
    assert "z <|eot_id|> is text" in maker.tokenizer.decode(sequence.ids)


def test_templates_that_write_images_themselves_are_asked_to() -> None:
    tokenizer = toys.byte_bpe(
        "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' }}{% for c in m['content'] %}"
        "{% if c['type'] == 'image' %}{{ '[see:<image>]' }}{% else %}{{ c['text'] }}{% endif %}"
        "{% endfor %}{{ '<|im_end|>\\n' }}{% endfor %}"
    )
    maker = Prompter(tokenizer, 2)
    sequence = maker.encode(
        Conversation((user(photo(), "x"), assistant("a dog"))), lambda _: PIXELS
    )
    assert "[see:<image><image>]x<|im_end|>" in tokenizer.decode(sequence.ids)
    assert maker.text(runs(sequence)[0]) == "a dog"


@pytest.mark.parametrize(
    ("template", "said"),
    [
        (toys.CHATML.replace("m['content']", "m['content'] | upper"), "drops or doubles|changes"),
        (
            toys.CHATML.replace("m['content']", "m['content'] | replace('dog', 'cat')"),
            "changes what",
        ),
        (
            "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\\n' }}{% endfor %}",
            "no control",
        ),
        ("{{ raise_exception('only monologues') }}", "only monologues"),
        (None, "no chat template.*plain, v0, v1"),
    ],
)
def test_a_template_that_cannot_be_learned_from_is_told(template: str | None, said: str) -> None:
    tokenizer = toys.byte_bpe()
    tokenizer.chat_template = template
    talk = Conversation((user("x"), assistant("a dog")))
    with pytest.raises(InputError, match=f"(?s){said}"):
        Prompter(tokenizer, 1).encode(talk, lambda _: PIXELS)


@pytest.mark.parametrize(
    ("messages", "template", "said"),
    [
        ((user("x"),), None, "no assistant's turn"),
        ((user("x"), assistant("  ")), None, "Turn 2 .* empty"),
        ((user("x"), Message("assistant", ("see", photo()))), None, "Turn 2 .* holds an image"),
        (
            (user("x"), assistant("a"), assistant("b")),
            "v1",
            "turn 3 is 'assistant', expected 'user'",
        ),
        (TWO_TURNS.messages, "plain", "one question and one answer; here are 4"),
        ((user("x"), assistant("a")), "v9", "no prompt template 'v9'.*plain"),
    ],
)
def test_a_conversation_that_cannot_be_learned_from_is_told(
    messages: tuple[Message, ...], template: str | None, said: str
) -> None:
    with pytest.raises(LooksayError, match=f"(?s){said}"):
        prompter("chatml").encode(Conversation(messages), lambda _: PIXELS, template)


def test_a_prompt_ends_with_the_user() -> None:
    with pytest.raises(InputError, match="found: assistant"):
        prompter("chatml").prompt(Conversation((user("x"), assistant("y"))))


def test_words_that_the_tokenizer_does_not_know_are_named() -> None:
    talk = Conversation((user("What is left"), assistant("a zebra and two xylophones")))
    with pytest.raises(InputError, match="does not know: zebra, xylophones"):
        prompter("words").encode(talk, lambda _: PIXELS)


def test_a_tokenizer_without_the_image_token_says_how_to_add_it() -> None:
    from transformers import PreTrainedTokenizerFast

    bare = PreTrainedTokenizerFast(
        tokenizer_object=toys.byte_bpe().backend_tokenizer, eos_token="<|im_end|>"
    )
    with pytest.raises(InputError, match="add_image_token"):
        Prompter(bare, 1, image_token="<picture>")
    assert add_image_token(bare, "<picture>") == Prompter(bare, 1, "<picture>").image_id


def test_an_image_is_known_by_its_content(tmp_path: Any) -> None:
    from PIL import Image as Pillow

    picture = Pillow.new("RGB", (4, 4), "red")
    file, copy = tmp_path / "a.png", tmp_path / "b.png"
    picture.save(file)
    picture.save(copy)
    assert image_key(Image(file)) == image_key(Image(copy)) == image_key(Image(file.read_bytes()))
    assert image_key(Image(picture)) == image_key(Image(Pillow.open(file).convert("RGB")))
    assert image_key(Image(picture)) != image_key(Image(Pillow.new("RGB", (4, 4), "blue")))


@pytest.mark.parametrize("name", ["vicuna", "llama-2"])
def test_ids_of_v1_are_llavas_own(name: str) -> None:
    """LLaVA's `tokenizer_image_token`: the text between images is tokenised in one go, each stretch
    with the tokenizer's first token, which is dropped from all but the first."""
    maker = prompter(name)
    tokenizer = maker.tokenizer
    text = (
        f"{TEMPLATES['v1'].system} USER: <image>\nWhat is left of the house ? ASSISTANT: The tree is "
        "left of the house .</s>USER: How many birds ? ASSISTANT: three birds, and one fish .</s>"
    )
    first, *rest = (tokenizer(stretch).input_ids for stretch in text.split("<image>"))
    theirs = list(first)
    for stretch in rest:
        assert stretch[0] == tokenizer.bos_token_id
        after = stretch[1:]
        if name == "llama-2":  # a stretch alone is a new text to it; as one text it is none
            after = tokenizer.encode(
                "<image>" + text.split("<image>")[1], add_special_tokens=False
            )[1:]
        theirs += [maker.image_id] * TOKENS + after
    assert maker.encode(TWO_TURNS, lambda _: PIXELS, "v1").ids == theirs
