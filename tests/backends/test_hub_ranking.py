"""How likely chat checkpoints find given answers: the numbers of one plain pass through transformers, whatever is
weighed beside them."""

from __future__ import annotations

import importlib.util
import json
import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hub_asking import PROMPTS, TYPES, ask, build, builder, extra_is_there, hub, photo
from pictures import encoded, picture, put

from looksay.backends import LoadOptions, load
from looksay.backends.base import Ranker
from looksay.errors import BackendError, InputError, LooksayError
from looksay.images import load_rgb
from looksay.types import Conversation, Image, Message

__all__ = ["build", "extra_is_there", "hub"]  # fixtures

pytestmark = pytest.mark.local

CAPTIONERS = {
    "blip",
    "blip_2_opt",
    "blip_2_t5",
    "florence2",
    "git",
    "paligemma",
    "vision_encoder_decoder",
}
CHATS = [kind for kind in TYPES if kind not in CAPTIONERS]
CHOICES = ["a dog", "a dog near the old bridge", "a", "the red boat"]
"""Two of them go on where another one ends."""


def one_pass(backend: Any, index: int, choice: str) -> float:
    """The answer's log-probability from the whole talk as the chat template writes it, by one call of the model:
    no generation, no cache, no padding."""
    import torch

    processor, model = backend._asking.processor, backend._model
    extra, image = backend._asking._extra, load_rgb(photo(index))
    content = [{"type": "image", "image": image}, {"type": "text", "text": PROMPTS[index]}]
    asked = [{"role": "user", "content": content}]
    said = [{"role": "assistant", "content": [{"type": "text", "text": choice}]}]
    whole = {"tokenize": True, "return_dict": True, "return_tensors": "pt", **extra}
    prompt = processor.apply_chat_template([asked], add_generation_prompt=True, **whole)
    talk = processor.apply_chat_template([asked + said], **whole)
    if extra:  # this template begins answers with empty thoughts, and writes none in a talk
        text = processor.apply_chat_template(asked, add_generation_prompt=True, **extra)
        talk = processor(text=[text + choice], images=[image], return_tensors="pt")
    ids, at = talk["input_ids"][0].tolist(), prompt["input_ids"].shape[1]
    assert ids[:at] == prompt["input_ids"][0].tolist()
    with torch.inference_mode():
        chances = model(**talk).logits[0].float().log_softmax(-1)
    total, written = 0.0, []
    while processor.tokenizer.decode(written).strip() != choice:
        total += float(chances[at - 1, ids[at]])
        written.append(ids[at])
        at += 1
    ends = model.generation_config.eos_token_id
    return total + float(chances[at - 1, ends if isinstance(ends, list) else [ends]].logsumexp(-1))


@pytest.mark.parametrize("kind", CHATS)
def test_it_is_what_one_pass_through_the_model_gives(kind: str, hub: Any) -> None:
    needs = getattr(builder(kind), "NEEDS", None)
    if needs and not importlib.util.find_spec(needs):
        pytest.skip(f"{needs} is missing; test_hub.py holds what is said then")
    backend = hub(kind)
    assert isinstance(backend, Ranker)
    for index in (0, 1):
        found = backend.rank(ask(index, PROMPTS[index]), CHOICES)
        expected = [one_pass(backend, index, choice) for choice in CHOICES]
        assert found == pytest.approx(expected, abs=1e-3, rel=1e-4)
        assert len(set(found)) == len(CHOICES)


BY_HAND = {
    "llava": (["▁a", "▁dog"], "</s>", "USER: <image>\nDescribe the image. ASSISTANT:"),
    "qwen2_vl": (
        ["a", "Ġdog"],
        "<|im_end|>",
        "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>Describe the image.<|im_end|>\n"
        "<|im_start|>assistant\n",
    ),
}
"""Of two types with unlike tokenizers: the tokens of "a dog", the one that ends it, and the prompt, written out."""


@pytest.mark.parametrize("kind", list(BY_HAND))
def test_it_is_the_sum_over_tokens_written_by_hand(kind: str, hub: Any) -> None:
    import torch

    backend = hub(kind)
    processor, tokenizer, model = backend._asking.processor, backend._tokenizer, backend._model
    tokens, end, prompt = BY_HAND[kind]
    inputs = processor(images=[load_rgb(photo(0))], text=[prompt], return_tensors="pt")
    total = 0.0
    for token in tokenizer.convert_tokens_to_ids([*tokens, end]):
        with torch.inference_mode():
            chances = model(**inputs).logits[0, -1].float().log_softmax(-1)
        total += float(chances[token])
        for name, tensor in inputs.items():
            if name in ("input_ids", "attention_mask", "mm_token_type_ids"):
                more = {"input_ids": token, "attention_mask": 1}.get(name, 0)
                inputs[name] = torch.cat([tensor, tensor.new_tensor([[more]])], dim=1)
    [found] = backend.rank(ask(0, PROMPTS[0]), ["a dog"])
    assert found == pytest.approx(total, abs=1e-4)


def test_what_is_weighed_beside_a_choice_changes_nothing(hub: Any, build: Any) -> None:
    alone: Any = load(f"hub:{build('llava')}", LoadOptions(batch_size=1, device="cpu"))
    question = ask(1, PROMPTS[1])
    whole = dict(zip(CHOICES, hub("llava").rank(question, CHOICES), strict=True))
    for others in ([], CHOICES[::-1], ["no", "no"], ["is this a large red flower near the house"]):
        for choice in CHOICES:
            for backend in (hub("llava"), alone):
                first = backend.rank(question, [choice, *others])[0]
                assert first == pytest.approx(whole[choice], abs=1e-4)
    assert hub("llava").rank(question, [" a dog\n"])[0] == pytest.approx(whole["a dog"], abs=1e-4)
    assert hub("llava").rank(question, []) == []


def test_a_talk_and_several_pictures_may_stand_before(hub: Any) -> None:
    backend = hub("qwen2_vl")
    talk = Conversation(
        (
            Message("user", (Image(photo(0)), "What is this?")),
            Message("assistant", ("a red boat",)),
            Message("user", (Image(photo(1)), "and this?")),
        )
    )
    found = backend.rank(talk, CHOICES)
    assert all(map(math.isfinite, found))
    assert found != pytest.approx(backend.rank(ask(1, "and this?"), CHOICES), abs=1e-3)


def test_settings_of_a_release_that_shape_answers_do_not_shape_likelihoods(
    hub: Any, build: Any, tmp_path: Path
) -> None:
    folder = shutil.copytree(build("llava"), tmp_path / "llava")
    path = folder / "generation_config.json"
    shaping = {"repetition_penalty": 3.0, "no_repeat_ngram_size": 1, "suppress_tokens": [5]}
    shaping |= {"num_beams": 3, "min_new_tokens": 9, "do_sample": True, "temperature": 0.3}
    path.write_text(json.dumps(json.loads(path.read_text()) | shaping))
    shaped: Any = load(f"hub:{folder}", LoadOptions(batch_size=4, device="cpu"))
    question = ask(0, PROMPTS[0])
    assert shaped.rank(question, ["a a a", *CHOICES]) == pytest.approx(
        hub("llava").rank(question, ["a a a", *CHOICES]), abs=1e-4
    )


def test_out_of_memory_halves_what_is_weighed_at_once(
    hub: Any, build: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    backend: Any = load(f"hub:{build('llava')}", LoadOptions(batch_size=4, device="cpu"))
    generate, sizes = backend._model.generate, []

    def small(**inputs: Any) -> Any:
        sizes.append(len(inputs["input_ids"]))
        if sizes[-1] > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return generate(**inputs)

    monkeypatch.setattr(backend._model, "generate", small)
    question = ask(0, PROMPTS[0])
    assert backend.rank(question, CHOICES) == pytest.approx(
        hub("llava").rank(question, CHOICES), abs=1e-4
    )
    assert sizes == [4, 2, 2]


def test_what_cannot_be_weighed_says_why(hub: Any, tmp_path: Path) -> None:
    with pytest.raises(BackendError, match=r"^hub:.*: an answer to be weighed is empty"):
        hub("llava").rank(ask(0, PROMPTS[0]), ["a dog", " "])
    with pytest.raises(LooksayError, match="the file is gone"):
        hub("llava").rank(Conversation.ask(Image(tmp_path / "gone.jpg"), "What?"), ["a"])


# --- Which ids an answer is: a tokenizer of single letters that joins a few, and templates around it. ---

USER = "{% for m in messages %}{{ '<' ~ m['role'] ~ '>' ~ m['content'][0]['text'] "


def answers(
    template: str, *, ends: int | None = 1, joined: Sequence[str] = (), eos: bool = True
) -> Any:
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    from looksay.backends._hub_asking import Asking
    from looksay.backends._hub_ranking import Answers

    letters = ["<pad>", "<end>", *" \n:?().<>", *"abcdefghijklmnopqrstuvwxyz", *joined]
    merges = [(one[0], one[1]) for one in joined]
    bpe = Tokenizer(models.BPE({one: n for n, one in enumerate(letters)}, merges))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe, pad_token="<pad>", eos_token="<end>" if eos else None
    )
    tokenizer.chat_template = template
    processor = SimpleNamespace(
        tokenizer=tokenizer,
        chat_template=template,
        apply_chat_template=tokenizer.apply_chat_template,
    )
    return Answers(Asking(processor, None), SimpleNamespace(eos_token_id=ends))


def tokens(made: Any, answer: str) -> list[str]:
    return list(made._tokenizer.convert_ids_to_tokens(made.ids(answer)))


@pytest.mark.parametrize(
    ("template", "said"),
    [
        (
            USER + "~ '<end>' }}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}",
            "no",
        ),
        # The space before an answer and the one before its end are written with it; others are not.
        (
            "{% for m in messages %}{{ m['role'] ~ ': ' ~ m['content'][0]['text'] ~ ' <end>' }}{% endfor %}"
            "{% if add_generation_prompt %}assistant:{% endif %}",
            " no ",
        ),
        (USER + "~ '\n' }}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}", "no"),
        # Thoughts before an answer are none of it, and the prompt does not hold them.
        (
            "{% for m in messages %}{{ '<' ~ m['role'] ~ '>' }}{% if m['role'] == 'assistant' %}(hm){% endif %}"
            "{{ m['content'][0]['text'] ~ ' <end>' }}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}",
            "no",
        ),
        # An answer that the template leaves out.
        ("{% for m in messages if m['role'] == 'user' %}?{% endfor %}", "no"),
    ],
)
def test_an_answer_s_ids_are_what_the_template_writes_of_it(template: str, said: str) -> None:
    assert tokens(answers(template), " no\n") == list(said)


def test_a_tokenizer_that_joins_prompt_and_answer_takes_the_answer_alone() -> None:
    template = USER + "}}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
    made = answers(template, joined=[">(", "(a", "ab"])
    assert tokens(made, "(a") == ["(a"]
    assert tokens(made, "abc") == ["ab", "c"]


def test_control_tokens_in_an_answer_are_text_and_an_end_must_be_known() -> None:
    template = USER + "}}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
    assert tokens(answers(template), "a<end>") == list("a< end>")
    assert answers(template, ends=None).ends == [1]
    with pytest.raises(BackendError, match="names a token that ends an answer"):
        answers(template, ends=None, eos=False)


# --- Measuring by likelihood ---


def test_nlvr_by_likelihood(build: Any, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="no matplotlib: no report")
    from typer.testing import CliRunner

    from looksay.cli import app

    row = {
        "sentence": "There is a red dog.",
        "label": "true",
        "identifier": "1-0",
        "directory": "0",
    }
    put(tmp_path / "nlvr" / "dev" / "dev.json", json.dumps(row))
    for order in range(6):
        path = tmp_path / "nlvr" / "dev" / "images" / "0" / f"dev-1-0-{order}.png"
        put(path, encoded(picture(order, (40, 10)), "PNG"))
    words = ["--on", "nlvr", "--data", str(tmp_path), "--out", str(tmp_path / "out")]
    words += ["--mode", "likelihood", "--device", "cpu"]
    done = CliRunner().invoke(app, ["evaluate", f"hub:{build('llava')}", *words])
    assert done.exit_code == 0, done.output
    assert "llava by likelihood on nlvr" in done.output.replace("\n", " ")
    (path,) = (tmp_path / "out" / "answers" / "nlvr").glob("*.jsonl")
    kept = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    assert len(kept) == 6
    for one in kept:
        true, false = one["details"]["log_likelihoods"]
        assert one["text"] == ("true" if true > false else "false")


@pytest.mark.parametrize("kind", sorted(CAPTIONERS))
def test_captioners_weigh_no_answers_and_say_so(kind: str, hub: Any) -> None:
    from looksay.evaluation.run import _Ranking

    with pytest.raises(InputError, match="does not say how likely it finds an answer"):
        _Ranking(hub(kind), [])
