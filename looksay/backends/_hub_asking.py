"""How a checkpoint is asked: its processor, and the one or two ways in which a conversation becomes tensors.

Chat models bring a chat template, and one path serves them all. The others are captioners: they take
one image and, some of them, the words that the caption begins with. What differs between captioners is
the data in `CAPTIONERS`, keyed by the `model_type` of config.json.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from PIL import Image as Pillow

from looksay.backends._hub_source import read_json
from looksay.errors import BackendError
from looksay.types import Conversation


@dataclass(frozen=True, slots=True)
class Captioner:
    """How a type without a chat template is asked."""

    prompt: str = ""
    """Sent where the conversation has no words."""
    takes_text: bool = True
    always_text: bool = False
    """The processor places the image's tokens in the text, so that there must be one, if empty."""
    open_ended: bool = False
    """A prompt goes without the end token that the tokenizer adds."""
    speaker: str = ""
    """The part of the model whose `generate` writes, and whose generation settings therefore count."""
    end_id: str = ""
    """Name in `text_config` of the token that ends an answer, where the speaker's settings have another."""


CAPTIONERS = {
    "blip": Captioner(speaker="text_decoder", end_id="sep_token_id"),
    "blip-2": Captioner(always_text=True, speaker="language_model"),
    "florence2": Captioner(prompt="<DETAILED_CAPTION>"),
    "git": Captioner(open_ended=True),
    "paligemma": Captioner(prompt="caption en"),
    "vision-encoder-decoder": Captioner(takes_text=False),
}


_ONE_SIZE = {
    "BlipImageProcessor",
    "CLIPImageProcessor",
    "SiglipImageProcessor",
    "ViTImageProcessor",
}
"""Processors that make every picture equally large, without tiles."""
MARK = "xqx"
"""Stands for an answer where only what is written around it matters."""


@dataclass(frozen=True, slots=True)
class Question:
    """A conversation with its images decoded. Questions with the same `kind` go into one batch."""

    index: int
    conversation: Conversation
    images: list[Pillow.Image]
    kind: str | int


class Pair:
    """An image processor and a tokenizer under one roof, for types that transformers has no processor of."""

    chat_template = None

    def __init__(self, image_processor: Any, tokenizer: Any) -> None:
        self.image_processor, self.tokenizer = image_processor, tokenizer

    def __call__(self, images: list[Pillow.Image], return_tensors: str = "pt") -> Any:
        return self.image_processor(images, return_tensors=return_tensors)


def load_processor(folder: Path, model_type: str, trust_remote_code: bool) -> Any:
    """The checkpoint's processor, with image processors that need no torchvision where there are such.

    Raises ImportError where the type has none, and whatever transformers raises on damaged files.
    """
    from transformers import AutoImageProcessor, AutoProcessor, AutoTokenizer

    # The processors on Pillow and those on torchvision differ by a rounding here and there. Answers should
    # not depend on what else is installed, so Pillow it is, torchvision or not.
    pil = {"backend": "pil", "trust_remote_code": trust_remote_code}
    released = _processor_class(folder, model_type)
    if released is None and trust_remote_code:
        return AutoProcessor.from_pretrained(folder, **pil)
    if released is None:
        images = AutoImageProcessor.from_pretrained(folder, **pil)
        return Pair(images, AutoTokenizer.from_pretrained(folder))
    parts = released.get_attributes()
    if "video_processor" in parts:
        return _without_video(folder, released, parts, pil)
    return released.from_pretrained(folder, **pil)


def _without_video(folder: Path, released: Any, parts: Sequence[str], pil: dict[str, Any]) -> Any:
    """The processor class put together from its parts, its video processor unable to read video.

    Every video processor of transformers needs torchvision, and AutoProcessor insists on one where the
    class names one; photos never reach it. The one check that the class makes of its parts would need
    torchvision as well, so it is left out for that part.
    """
    from transformers import AutoFeatureExtractor, AutoImageProcessor, AutoTokenizer
    from transformers.video_processing_utils import VideoProcessorMixin

    makers = {
        "tokenizer": AutoTokenizer,
        "image_processor": AutoImageProcessor,
        "feature_extractor": AutoFeatureExtractor,
    }

    class NoVideo(VideoProcessorMixin):  # type: ignore[misc]
        def __getattr__(self, name: str) -> None:
            if name.startswith("_"):
                raise AttributeError(name)
            # Frame rate, number of frames and the like: asked for by some classes, used by none here.

    made = []
    for part in parts:
        if part == "video_processor":
            made.append(NoVideo())
        else:
            made.append(makers[part].from_pretrained(folder, **pil))

    def check(self: Any, name: str, part: Any) -> Any:
        if name != "video_processor":
            return released.check_argument_for_proper_class(self, name, part)
        return type(part)

    photos_only: Any = type(
        released.__name__, (released,), {"check_argument_for_proper_class": check}
    )
    settings, rest = released.get_processor_dict(folder)
    return photos_only.from_args_and_dict(made, settings, **rest)


def _processor_class(folder: Path, model_type: str) -> Any:
    """The processor class that the checkpoint names, or else that of its type; None where there is none.

    Looked up in its own module, since `transformers.X` is a placeholder for some classes (Pixtral's) that
    only seem to need torchvision.
    """
    from transformers.models.auto.configuration_auto import model_type_to_module_name
    from transformers.models.auto.processing_auto import PROCESSOR_MAPPING_NAMES

    files = ("processor_config.json", "preprocessor_config.json", "tokenizer_config.json")
    named = [read_json(folder / file).get("processor_class") for file in files]
    for name in filter(None, [*named, PROCESSOR_MAPPING_NAMES.get(model_type)]):
        types = [kind for kind, processor in PROCESSOR_MAPPING_NAMES.items() if processor == name]
        for home in dict.fromkeys(map(model_type_to_module_name, types)):
            if found := getattr(
                _processing_module(f"transformers.models.{home}", home), name, None
            ):
                return found
    return None


def _processing_module(package: str, home: str) -> ModuleType | None:
    """The module of a type's processor; None where the type has none of its own.

    Pixtral's takes one size function from the image processor on torchvision. The twin on Pillow has the
    same function, so where there is no torchvision it stands in during that one import.
    """
    try:
        return importlib.import_module(f"{package}.processing_{home}")
    except ModuleNotFoundError as error:
        if error.name and error.name.startswith("transformers."):
            return None
        twin = importlib.import_module(f"{package}.image_processing_pil_{home}")
        sys.modules[f"{package}.image_processing_{home}"] = twin
        try:
            return importlib.import_module(f"{package}.processing_{home}")
        finally:
            del sys.modules[f"{package}.image_processing_{home}"]


class Asking:
    """Turns questions into the tensors that a checkpoint's `generate` takes."""

    def __init__(self, processor: Any, captioner: Captioner | None) -> None:
        self.processor, self.captioner = processor, captioner
        self.tokenizer = processor.tokenizer
        template = getattr(processor, "chat_template", None) or ""
        # Models that think aloud first are asked not to, in the way that their template offers.
        self._extra = {"enable_thinking": False} if "enable_thinking" in str(template) else {}
        tokens = {*self.tokenizer.all_special_tokens, getattr(processor, "image_token", None)}
        self._control = sorted(t for t in map(str, tokens) if len(t) > 2 and t[0] in "<[")

    @property
    def seen_px(self) -> int | None:
        """The side of the square that the model sees of every picture; None: it sees more of a larger one (tiles), or
        who knows."""
        looks = getattr(self.processor, "image_processor", None)
        size = dict(getattr(looks, "size", None) or {})
        sides: list[int] = [px for px in size.values() if px]
        known = type(looks).__name__.removesuffix("Pil") in _ONE_SIZE
        return max(sides) if known and sides else None

    def question(
        self, index: int, conversation: Conversation, images: list[Pillow.Image]
    ) -> Question:
        """Raises BackendError where this checkpoint cannot be asked that."""
        if self.captioner is None:
            return Question(index, conversation, images, len(images))
        if len(images) != 1:
            raise BackendError(
                f"this captioner takes exactly one image, and was given {len(images)}"
            )
        words = "\n".join(m.text for m in conversation.messages if m.role == "user").strip()
        prompt = (words or self.captioner.prompt) if self.captioner.takes_text else ""
        return Question(index, conversation, images, prompt)

    def tensors(self, questions: Sequence[Question]) -> Any:
        """One batch: a BatchFeature of tensors on the CPU. All questions are of the same kind."""
        return self._chat(questions) if self.captioner is None else self._caption(questions)

    def _caption(self, questions: Sequence[Question]) -> Any:
        assert self.captioner is not None
        images, prompt = [q.images[0] for q in questions], str(questions[0].kind)
        if not prompt and not self.captioner.always_text:
            return self.processor(images=images, return_tensors="pt")
        texts = [prompt] * len(images)
        inputs = self.processor(images=images, text=texts, return_tensors="pt", padding=True)
        if self.captioner.open_ended:
            inputs.pop(
                "token_type_ids", None
            )  # BERT's tokenizer makes them, GIT does not take them
            for name in ("input_ids", "attention_mask"):
                inputs[name] = inputs[name][:, :-1]
        return inputs

    def _chat(self, questions: Sequence[Question]) -> Any:
        from jinja2 import TemplateError

        def render(fold_system: bool) -> Any:
            return self.processor.apply_chat_template(
                [self._messages(q, fold_system) for q in questions],
                add_generation_prompt=True,
                tokenize=True,
                return_dict=True,
                return_tensors="pt",
                processor_kwargs={"padding": True},
                **self._extra,
            )

        try:
            return render(fold_system=False)
        except TemplateError:
            # Templates such as Llama 3.2 Vision's refuse a system message beside an image.
            if not any(m.role == "system" for q in questions for m in q.conversation.messages):
                raise
            return render(fold_system=True)

    def frame(self) -> tuple[str, str, str]:
        """What the chat template writes up to an answer, between that and its first letter, and after its
        last letter.

        Where it writes an answer otherwise than after that prompt (behind thoughts, say), nothing stands
        between the two, and nothing is known of what comes after.
        """
        asked, said = (
            {"role": role, "content": [{"type": "text", "text": text}]}
            for role, text in (("user", "?"), ("assistant", MARK))
        )

        def written(*messages: dict[str, Any], begun: bool) -> str:
            text = self.processor.apply_chat_template(
                list(messages), add_generation_prompt=begun, tokenize=False, **self._extra
            )
            return str(text)

        prompt = written(asked, begun=True)
        before, _, after = written(asked, said, begun=False).rpartition(MARK)
        between = before[len(prompt) :]
        if not before.startswith(prompt) or between.strip():
            return prompt, "", ""
        return prompt, between, after

    def _messages(self, question: Question, fold_system: bool) -> list[dict[str, Any]]:
        images = iter(question.images)
        held: list[dict[str, Any]] = []
        messages = []
        for message in question.conversation.messages:
            parts = [
                {"type": "text", "text": self.plain(part)}
                if isinstance(part, str)
                else {"type": "image", "image": next(images)}
                for part in message.parts
            ]
            if fold_system and message.role == "system":
                held += parts
                continue
            messages.append({"role": message.role, "content": held + parts})
            held = []
        return messages

    def plain(self, text: str) -> str:
        """Text that holds no control token: one from a web page could otherwise close the user's turn."""
        for token in self._control:
            text = text.replace(token, f"{token[0]} {token[1:]}")
        return text
