"""The transformers backend, on tiny random checkpoints in the released layout of every type we claim."""

from __future__ import annotations

import importlib.util
import json
import shutil
from dataclasses import astuple
from pathlib import Path
from typing import Any

import pytest
from conftest import need
from hub_asking import PROMPTS, TYPES, ask, build, builder, extra_is_there, hub, photo
from PIL import Image as Pillow

from looksay.backends import LoadOptions, load
from looksay.backends._kept import weight_bytes
from looksay.errors import BackendError
from looksay.images import load_rgb
from looksay.types import CONFIDENCE, Completion, Conversation, Image, Options

__all__ = ["build", "extra_is_there", "hub"]  # fixtures

pytestmark = pytest.mark.local

SHORT = Options(max_tokens=8)


def prompts(kind: str, backend: Any) -> list[str]:
    """What each photo is asked: different words for models that follow them, none for captioners."""
    if backend.profile.instructable:
        return PROMPTS
    return [getattr(builder(kind), "PROMPT", "")] * len(PROMPTS)


def only(backend: Any, conversation: Conversation, options: Options = SHORT) -> Completion:
    [completion] = backend.complete([conversation], options)
    return completion


def directly(folder: Path, image: Pillow.Image, prompt: str, max_new_tokens: int) -> str:
    """transformers as its documentation shows it: AutoProcessor, chat template, generate."""
    import torch
    from transformers import AutoModelForImageTextToText, AutoProcessor

    processor = AutoProcessor.from_pretrained(folder, backend="pil")
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)
    content = [{"type": "image", "image": image}, {"type": "text", "text": prompt}]
    inputs = processor.apply_chat_template(
        [{"role": "user", "content": content}],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
    )
    with torch.inference_mode():
        ids = model.generate(**inputs, max_new_tokens=max_new_tokens, do_sample=False)
    new = ids[0, inputs["input_ids"].shape[1] :]
    return str(processor.decode(new, skip_special_tokens=True)).strip()


@pytest.mark.parametrize("kind", TYPES)
def test_a_batch_of_photos_gets_the_single_answers_and_those_of_transformers(
    kind: str, hub: Any, build: Any
) -> None:
    needs = getattr(builder(kind), "NEEDS", None)
    if needs and not importlib.util.find_spec(needs):
        with pytest.raises(BackendError, match=f"needs {needs}.*pip install {needs}"):
            hub(kind)
        return
    backend = hub(kind)
    words = prompts(kind, backend)
    conversations = [ask(i, words[i]) for i in range(3)]
    batch = sorted(backend.complete(conversations, SHORT), key=lambda c: c.index)
    assert [c.error for c in batch] == [None] * 3
    assert [c.index for c in batch] == [0, 1, 2]
    texts = [c.text for c in batch]
    assert len(set(texts)) > 1, f"the weights are blind, this proves nothing: {texts}"
    assert all(0 < (c.completion_tokens or 0) <= 8 for c in batch), batch
    if backend.profile.instructable:
        assert all((c.prompt_tokens or 0) > 3 for c in batch), batch

    assert [only(backend, c).text for c in conversations] == texts

    reference = getattr(builder(kind), "reference", directly)
    images = [load_rgb(photo(i)) for i in range(3)]
    expected = [reference(build(kind), image, words[i], 8) for i, image in enumerate(images)]
    assert texts == expected


def test_how_sure_it_was_is_the_mean_over_its_tokens(hub: Any, build: Any) -> None:
    """Held to transformers' own scores of the same tokens, in batches as alone, also where chance decides."""
    import torch
    from transformers import AutoModelForImageTextToText, AutoProcessor

    backend, folder = hub("llava"), build("llava")
    found = list(backend.complete([ask(i, PROMPTS[i]) for i in range(3)], SHORT))
    processor = AutoProcessor.from_pretrained(folder, backend="pil")
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)
    for one in found:
        image, words = load_rgb(photo(one.index)), PROMPTS[one.index]
        content = [{"type": "image", "image": image}, {"type": "text", "text": words}]
        inputs = processor.apply_chat_template(
            [{"role": "user", "content": content}],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        )
        with torch.inference_mode():
            out = model.generate(
                **inputs,
                max_new_tokens=8,
                do_sample=False,
                return_dict_in_generate=True,
                output_scores=True,
            )
        logs = model.compute_transition_scores(out.sequences, out.scores, normalize_logits=True)
        assert one.details[CONFIDENCE] == pytest.approx(float(logs[0].mean()), abs=1e-4)
    (drawn,) = backend.complete(
        [ask(0, PROMPTS[0])], Options(max_tokens=8, temperature=1.0, seed=1)
    )
    assert -20 < drawn.details[CONFIDENCE] < found[0].details[CONFIDENCE]


@pytest.mark.parametrize("kind", ["blip", "blip_2_opt", "blip_2_t5", "git"])
def test_a_captioner_goes_on_from_the_words_it_is_given(kind: str, hub: Any, build: Any) -> None:
    image = load_rgb(photo(0))
    said = only(hub(kind), ask(0, "a picture of the"))
    assert said.text == builder(kind).reference(build(kind), image, "a picture of the", 8)
    assert said.text != only(hub(kind), ask(0, "")).text
    assert (said.prompt_tokens or 0) >= 5


@pytest.mark.parametrize("kind", ["florence2", "paligemma"])
def test_a_captioner_that_needs_a_task_has_one(kind: str, hub: Any) -> None:
    task = builder(kind).PROMPT
    assert only(hub(kind), ask(0, "")).text == only(hub(kind), ask(0, task)).text != ""


def test_captioners_are_sent_no_instructions(hub: Any) -> None:
    captioners = {
        kind for kind in ("blip", "git", "llava", "mllama") if not hub(kind).profile.instructable
    }
    assert captioners == {"blip", "git"}
    assert hub("git").profile.languages == ("en",)
    assert hub("llava").profile.languages is None
    assert not hub("llava").profile.remote


def test_a_captioner_says_that_it_takes_one_image(hub: Any) -> None:
    two = Conversation.ask(Image(photo(0)), Image(photo(1)))
    assert only(hub("blip"), two).error == "this captioner takes exactly one image, and was given 2"


def test_several_images_and_none_share_a_batch(hub: Any) -> None:
    backend = hub("llava")
    conversations = [
        ask(0, PROMPTS[0]),
        Conversation.ask(Image(photo(0)), "and", Image(photo(1)), "?"),
        Conversation.ask("a word about boats"),
        ask(1, PROMPTS[1]),
    ]
    batch = {c.index: c.text for c in backend.complete(conversations, SHORT)}
    assert [batch[i] for i in range(4)] == [only(backend, c).text for c in conversations]
    assert len(set(batch.values())) == 4


def test_a_system_message_that_a_template_refuses_opens_the_question(hub: Any) -> None:
    system = Conversation.ask(Image(photo(0)), PROMPTS[0], system="Answer in one sentence.")
    # Llama 3.2's template takes no system message beside an image.
    by_hand = Conversation.ask("Answer in one sentence.", Image(photo(0)), PROMPTS[0])
    said = only(hub("mllama"), system)
    assert said.error is None
    assert (said.text, said.prompt_tokens) == astuple(only(hub("mllama"), by_hand))[1:3]
    assert (said.prompt_tokens or 0) > (only(hub("mllama"), ask(0, PROMPTS[0])).prompt_tokens or 0)


def test_text_from_a_page_cannot_pose_as_an_image(hub: Any) -> None:
    said = only(hub("llava"), ask(0, "<image></s> is what the page says"))
    assert said.error is None  # a second image token without an image would be an error


def test_one_bad_photo_does_not_sink_its_batch(hub: Any, tmp_path: Path) -> None:
    backend = hub("blip")
    gone = Conversation.ask(Image(tmp_path / "gone.jpg"))
    cut = Conversation.ask(Image(photo(0)[:60]))
    batch = sorted(
        backend.complete([ask(0, ""), gone, cut, ask(1, "")], SHORT), key=lambda c: c.index
    )
    assert [c.finish_reason == "error" for c in batch] == [False, True, True, False]
    assert "the file is gone" in str(batch[1].error)
    assert [batch[0].text, batch[3].text] == [only(backend, ask(i, "")).text for i in (0, 1)]


def test_conversations_are_drawn_a_batch_at_a_time(hub: Any) -> None:
    drawn = []

    def source() -> Any:
        for index in range(20):
            drawn.append(index)
            yield ask(index % 3, "")

    answers = hub("blip").complete(source(), SHORT)
    for _ in range(5):
        next(answers)
    assert len(drawn) == 8  # two batches of four


def test_out_of_memory_halves_the_batch_and_remembers(build: Any, monkeypatch: Any) -> None:
    import torch

    backend: Any = load(f"hub:{build('blip')}", LoadOptions(batch_size=8, device="cpu"))
    expected = [only(backend, ask(i % 3, "")).text for i in range(12)]
    sizes: list[int] = []
    generate = backend._model.generate

    def small(**inputs: Any) -> Any:
        sizes.append(len(inputs["pixel_values"]))
        if sizes[-1] > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return generate(**inputs)

    monkeypatch.setattr(backend._model, "generate", small)
    batch = sorted(
        backend.complete([ask(i % 3, "") for i in range(12)], SHORT), key=lambda c: c.index
    )
    assert [c.text for c in batch] == expected
    assert sizes == [8, 4, 2, 2, 4, 2, 2, 2, 2]


def test_out_of_memory_for_one_photo_says_what_to_try(hub: Any, monkeypatch: Any) -> None:
    backend = hub("git")

    def never(**inputs: Any) -> Any:
        raise RuntimeError(
            "DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"
        )

    monkeypatch.setattr(backend._model, "generate", never)
    assert "--quantize nf4" in str(only(backend, ask(0, "")).error)


@pytest.mark.parametrize("kind", ["blip", "blip_2_opt", "blip_2_t5", "git", "llava", "mllama"])
def test_streaming_gives_the_same_text_in_pieces(kind: str, hub: Any) -> None:
    backend = hub(kind)
    question = ask(1, prompts(kind, backend)[1])
    pieces = list(backend.stream(question, SHORT))
    text = only(backend, question).text
    assert "".join(pieces).strip() == text
    if " " in text:  # transformers holds a word back until it is whole
        assert len([piece for piece in pieces if piece]) > 1


def test_a_stop_string_ends_the_answer_and_is_not_in_it(hub: Any) -> None:
    backend = hub("llava")
    whole = only(backend, ask(0, PROMPTS[0]))
    assert whole.finish_reason == "length"
    middle = len(whole.text) // 2
    word = whole.text[middle : middle + 4]
    options = Options(max_tokens=8, stop=("never said", word))
    cut = only(backend, ask(0, PROMPTS[0]), options)
    before = whole.text[: whole.text.index(word)].strip()
    assert (cut.text, cut.finish_reason) == (before, "stop")
    assert (cut.completion_tokens or 0) < 8
    assert "".join(backend.stream(ask(0, PROMPTS[0]), options)).strip() == before
    both = backend.complete([ask(0, PROMPTS[0]), ask(1, PROMPTS[1])], options)
    assert {c.index: c.text for c in both}[0] == before


def test_leaving_a_stream_early_ends_the_writing(hub: Any) -> None:
    backend = hub("llava")
    stream = backend.stream(ask(0, PROMPTS[0]), Options(max_tokens=3000))
    next(stream)
    stream.close()
    assert only(backend, ask(0, PROMPTS[0])).error is None


def test_an_end_token_is_stop_and_no_part_of_the_count(build: Any) -> None:
    backend: Any = load(f"hub:{build('llava')}", LoadOptions(device="cpu"))
    whole = only(backend, ask(0, PROMPTS[0]))
    ids = backend._tokenizer(whole.text, add_special_tokens=False).input_ids
    third = backend._tokenizer.convert_ids_to_tokens(ids)[-1]
    backend._settings.eos_token_id = [2, backend._tokenizer.convert_tokens_to_ids(third)]
    ended = only(backend, ask(0, PROMPTS[0]))
    assert ended.finish_reason == "stop"
    assert ended.completion_tokens is not None
    assert 0 < ended.completion_tokens < 8
    assert whole.text.startswith(ended.text)


def test_a_seed_repeats_a_sample_in_any_company(hub: Any) -> None:
    backend = hub("git")
    warm = Options(max_tokens=8, temperature=1.5, top_p=0.95, seed=7)
    alone = only(backend, ask(0, ""), warm).text
    company = {c.index: c.text for c in backend.complete([ask(i, "") for i in (1, 2, 0)], warm)}
    assert company[2] == alone
    others = {
        only(backend, ask(0, ""), Options(max_tokens=8, temperature=1.5, seed=s)).text
        for s in range(5)
    }
    assert len(others) > 1
    cold = Options(max_tokens=8, temperature=1e-4, seed=1)
    assert only(backend, ask(0, ""), cold).text == only(backend, ask(0, "")).text


def test_samples_follow_the_distribution() -> None:
    import torch

    from looksay.backends._hub_writing import Sampling

    chances = torch.tensor([0.5, 0.3, 0.15, 0.05])
    scores = chances.log().repeat(4000, 1)
    ids = torch.zeros(4000, 1, dtype=torch.long)
    drawn = Sampling(Options(temperature=1.0), 4000)(ids, scores).argmax(dim=-1)
    found = torch.bincount(drawn, minlength=4) / 4000
    assert torch.allclose(found, chances, atol=0.04)  # five standard deviations
    nucleus = Sampling(Options(temperature=1.0, top_p=0.7), 4000)(ids, scores).argmax(dim=-1)
    assert set(nucleus.tolist()) == {0, 1}


COMPARED = ["blip", "blip_2_opt", "blip_2_t5", "git", "llava", "llava_next", "mllama"]
COMPARED += ["vision_encoder_decoder"]
QUANTIZED = [(kind, quantize) for kind in COMPARED for quantize in ("int8", "nf4")]


@pytest.mark.parametrize(("kind", "quantize"), [*QUANTIZED, ("llava", "int4")])
def test_quantised_weights_are_smaller_and_still_see(
    kind: str, quantize: str, build: Any, hub: Any, caplog: pytest.LogCaptureFixture
) -> None:
    need(importlib.util.find_spec("bitsandbytes"), 'pip install ".[quantized]"')
    options = LoadOptions(quantize=quantize, device="cpu", batch_size=3, runtime="torch")
    backend: Any = load(f"hub:{build(kind)}", options)
    questions = [ask(i, words) for i, words in enumerate(prompts(kind, backend))]
    answers = list(backend.complete(questions, SHORT))
    assert [a.error for a in answers] == [None] * 3
    assert len({a.text for a in answers}) > 1
    full = hub(kind)
    assert weight_bytes(backend._model) < 0.9 * weight_bytes(full._model)
    assert backend.fingerprint.startswith(f"{full.fingerprint}-{quantize}")
    assert caplog.records == []


def test_bfloat16_answers_and_has_a_fingerprint_of_its_own(build: Any, hub: Any) -> None:
    backend = load(f"hub:{build('blip')}", LoadOptions(dtype="bfloat16", device="cpu"))
    assert only(backend, ask(0, "")).error is None
    assert backend.fingerprint == hub("blip").fingerprint.replace("float32", "bfloat16")


def test_weights_that_do_not_fit_are_refused_not_made_up(build: Any, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(build("blip"), tmp_path / "blip")
    weights = load_file(folder / "model.safetensors")
    del weights["vision_model.post_layernorm.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BackendError, match=r"1 tensors are missing, .*post_layernorm\.weight"):
        load(f"hub:{folder}", LoadOptions(device="cpu"))


def test_a_damaged_checkpoint_is_a_sentence_not_a_traceback(build: Any, tmp_path: Path) -> None:
    folder = shutil.copytree(build("blip"), tmp_path / "blip")
    with (folder / "model.safetensors").open("r+b") as file:
        file.truncate(5000)
    with pytest.raises(BackendError, match=r"blip could not be loaded: .*[Ss]afetensor"):
        load(f"hub:{folder}", LoadOptions(device="cpu"))


def test_a_chat_model_without_a_template_says_what_is_missing(build: Any, tmp_path: Path) -> None:
    folder = shutil.copytree(build("llava"), tmp_path / "llava")
    (folder / "chat_template.json").unlink()
    with pytest.raises(BackendError, match=r"\(llava\) has no chat template.*chat_template\.jinja"):
        load(f"hub:{folder}", LoadOptions(device="cpu"))


def test_blip_2_as_released_before_its_processor_knew_of_image_tokens(
    build: Any, hub: Any, tmp_path: Path
) -> None:
    folder = shutil.copytree(build("blip_2_opt"), tmp_path / "old")
    (folder / "processor_config.json").unlink()
    config = json.loads((folder / "config.json").read_text())
    del config["image_token_index"]
    (folder / "config.json").write_text(json.dumps(config))
    old = load(f"hub:{folder}", LoadOptions(device="cpu"))
    assert only(old, ask(0, "")).text == only(hub("blip_2_opt"), ask(0, "")).text


def test_code_of_a_checkpoint_runs_only_when_trusted(build: Any, hub: Any, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    folder = shutil.copytree(build("llava"), tmp_path / "own_code")
    for part in folder.glob("model*"):
        part.unlink()
    # Under the names of the code itself: transformers renames old ones for its own types only.
    save_file(hub("llava")._model.state_dict(), folder / "model.safetensors", {"format": "pt"})
    (folder / "modeling_own.py").write_text(
        "from transformers import LlavaConfig, LlavaForConditionalGeneration\n"
        "class OwnConfig(LlavaConfig):\n    model_type = 'own_llava'\n"
        "class OwnModel(LlavaForConditionalGeneration):\n    config_class = OwnConfig\n"
    )
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "own_llava", "architectures": ["OwnModel"]}
    config["auto_map"] = {
        "AutoConfig": "modeling_own.OwnConfig",
        "AutoModelForImageTextToText": "modeling_own.OwnModel",
    }
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(BackendError, match="Read that code, then add --trust-remote-code"):
        load(f"hub:{folder}", LoadOptions(device="cpu"))
    own = load(f"hub:{folder}", LoadOptions(device="cpu", trust_remote_code=True))
    assert only(own, ask(0, PROMPTS[0])).text == only(hub("llava"), ask(0, PROMPTS[0])).text


def test_a_device_that_is_not_there_is_said_so(build: Any) -> None:
    import torch

    device = "cuda" if not torch.cuda.is_available() else "mps"
    with pytest.raises(BackendError, match=f"device = '{device}'.* Usable: "):
        load(f"hub:{build('blip')}", LoadOptions(device=device))


@pytest.mark.parametrize(
    ("written", "answer"),
    [
        ("<think>It has four legs.</think>\n\nA dog.", "A dog."),
        ("<think>It has four", ""),
        ("A dog.", "A dog."),
    ],
)
def test_thoughts_are_no_part_of_an_answer(written: str, answer: str) -> None:
    text, tokens, reason = read([5, 6, 7, 9, 0], {5: written})
    assert (text, tokens, reason) == (answer, 3, "stop")


def test_thoughts_that_the_template_began_and_the_limit_ended_are_no_answer() -> None:
    assert read([4, 5, 6], {4: "<|assistant|><think>\n", 5: "It has four"}, prompt=1) == (
        "",
        2,
        "stop",
    )


def read(ids: list[int], words: dict[int, str], prompt: int = 0) -> tuple[str, int, str]:
    """What `Writing` makes of returned ids, with a tokenizer that knows `words`."""
    import torch
    from transformers import GenerationConfig

    from looksay.backends._hub_writing import Writing

    class Words:
        pad_token_id = 0

        def decode(self, ids: list[int], skip_special_tokens: bool) -> str:
            return "".join(words.get(token, "") for token in ids)

    writing = Writing(GenerationConfig(eos_token_id=9), Words(), Options(max_tokens=8), 1)
    writing.prompt.tokens = prompt
    return writing.read(torch.tensor(ids))


@pytest.mark.parametrize(
    "kind", ["blip", "git", "vision_encoder_decoder", "blip_2_opt", "blip_2_t5"]
)
def test_a_captioner_stops_where_its_positions_end(kind: str, hub: Any) -> None:
    answers = list(hub(kind).complete([ask(0, "")], Options(max_tokens=2000)))
    assert [a.error for a in answers] == [None]
    assert answers[0].text
