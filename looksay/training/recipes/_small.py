"""What the recipes for scenes begin with: a small tower, a small language model and their tokenizer, all new."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

import torch
from torch import nn

from looksay.data.dataset import Source
from looksay.data.scenes import Scenes, captions, choices, description, listing, questions
from looksay.data.scenes.grids import CLASSES
from looksay.data.sources import scenes as talks
from looksay.data.sources.drawing import Curriculum
from looksay.errors import UnknownName
from looksay.models.language import Language
from looksay.models.prompting import add_image_token
from looksay.models.segments import SEGMENTS
from looksay.models.seq2seq import Seq2Seq
from looksay.models.small_tower import SmallTower
from looksay.training.stages import Stage, TrainingError
from looksay.types import Conversation, Options

Part = TypeVar("Part", bound=nn.Module)

TEMPLATE = (
    "{% for m in messages %}{{ '<|' + m['role'] + '|>' + m['content'] }}"
    "{% if m['role'] == 'assistant' %}{{ '<|end|>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
SPECIAL = ["<|pad|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"]
VOCABULARY = 1536
SPEAKING: dict[str, Any] = {
    "tokens_per_batch": 2048,
    "max_length": 1024,
    "optimizer": "muon",
    "betas": (0.9, 0.95),
    "weight_decay": 0.01,
}
"""What the stages of a small language model share."""
PAIRS: dict[str, Any] = {
    "pack": False,
    "cache_features": True,
    "warmup": 0.05,
    **{key: SPEAKING[key] for key in ("optimizer", "betas", "weight_decay")},
}
"""What stages share that compare the pictures and texts of a batch over a tower that rests."""
SHOWN: Curriculum = {
    "sign_share": 0.3,
    "invented": 0.5,
    "alike": 8,
    "pictures": 12_288,
}
"""What is shown over a tower that rests: the same pictures again and again, so that their features are computed once,
and once for all families (`--features`). Of pairs in a batch many have one background, so that it is nouns that
tell them apart."""


CONTEXT = 96
"""Ids of the longest text about a scene, and some to spare."""


@dataclass(frozen=True, slots=True)
class Size:
    """Widths and depths; see `SIZES`."""

    channels: int
    blocks: tuple[int, ...]
    width: int
    layers: int
    heads: int
    hidden: int


SIZES = {
    "tiny": Size(channels=64, blocks=(1, 2), width=64, layers=2, heads=2, hidden=128),
    "mini": Size(channels=128, blocks=(1, 1, 2, 4), width=192, layers=4, heads=4, hidden=512),
}
"""tiny is for tests and first tries (seconds), mini is what ships."""


def contrast_stage(
    seed: int,
    name: str,
    trains: dict[str, float],
    objective: str,
    steps: int,
    data: Source | None = None,
) -> Stage:
    """Contrast over captions (of `data`; else of scenes, each in one of five forms, so that no word can be left out)
    and, of scenes, over what names one group alone: from whole captions "a dog and a cat" becomes a place of its
    own, with "a dog" nowhere near it."""
    return Stage(
        name,
        trains=trains,
        objectives=(objective,),
        data=data or talks.read(seed, mix={"caption": 0.5, "mention": 0.5}, **SHOWN),
        cache_features=True,
        steps=steps,
        examples_per_batch=128,
        pack=False,
        max_length=CONTEXT,
        optimizer="muon",
        warmup=0.05,
        weight_decay=0.01,
        betas=(0.9, 0.98),
    )


def first_contrast(
    seed: int, trains: dict[str, float], objective: str, data: Source | None = None
) -> Stage:
    """What stands before matching, writing and the like: contrast alone, in large batches.

    Not as in the papers, which begin with all losses at once. Matching learns from the pairs that contrast finds
    alike, so from contrast that has learned nothing it learns nothing either: ALBEF after 600 joint steps alone
    judges 31 % of the pairs wrongly (33 % without looking), after this stage and 380 steps 25 %.
    """
    return contrast_stage(seed, "contrast", trains, objective, 600, data)


def size(name: str) -> Size:
    if name not in SIZES:
        raise UnknownName("size", name, SIZES)
    return SIZES[name]


def tower(name: str) -> SmallTower:
    """A new small tower for scenes of 128 px."""
    chosen = size(name)
    return SmallTower(size_px=128, channels=chosen.channels, blocks=chosen.blocks, classes=CLASSES)


def language(name: str, tokenizer: Any) -> Language:
    """A new Llama of that size."""
    from transformers import LlamaConfig, LlamaForCausalLM

    chosen = size(name)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=chosen.width,
        intermediate_size=chosen.hidden,
        num_hidden_layers=chosen.layers,
        num_attention_heads=chosen.heads,
        num_key_value_heads=chosen.heads,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return Language(LlamaForCausalLM(config), attention=SEGMENTS)


def seq2seq(name: str, tokenizer: Any) -> Seq2Seq:
    """A new T5 of that size: as many layers in the encoder as in the decoder, feed-forwards as mT5 has them.
    Its output layer is its embedding, scaled, as T5's own is: the separate one of mT5 begins with logits that
    are √width times as wide (its weights with deviation 1, on states of deviation 1)."""
    from transformers import T5Config, T5ForConditionalGeneration

    chosen = size(name)
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=chosen.width,
        d_kv=chosen.width // chosen.heads,
        d_ff=chosen.hidden,
        num_layers=chosen.layers,
        num_heads=chosen.heads,
        dropout_rate=0.0,
        feed_forward_proj="gated-gelu",
        tie_word_embeddings=True,
        decoder_start_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return Seq2Seq(T5ForConditionalGeneration(config), attention="eager")


def tokenizer(
    scenes: int = 1500, texts: Iterable[str] | None = None, vocabulary: int = VOCABULARY
) -> Any:
    """Byte-level BPE over what is said about scenes: nearly every word is one token, any other text is
    still readable, and the letters of a sign, standing apart, stay letters. `texts`: over these instead
    (another language wants a larger vocabulary)."""
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    learned = _scenes_bpe(scenes, vocabulary) if texts is None else _bpe(texts, vocabulary)
    dressed = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(learned),
        clean_up_tokenization_spaces=False,
        pad_token="<|pad|>",
        eos_token="<|end|>",
    )
    dressed.chat_template = TEMPLATE
    add_image_token(dressed)
    return dressed


@lru_cache(maxsize=4)
def _scenes_bpe(scenes: int, vocabulary: int) -> str:
    return _bpe(_texts(scenes), vocabulary)


def _bpe(texts: Iterable[str], vocabulary: int) -> str:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=SPECIAL,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    learned: str = bpe.to_str()
    return learned


def _texts(count: int) -> Iterator[str]:
    source = Scenes(0, "train")
    fixed = (talks.DESCRIBE, talks.CAPTION, talks.FROM_LIST, talks.CHOOSE)
    yield from (*fixed, *talks.DESCRIBE_TOO, *talks.CAPTION_TOO)
    for index in range(count):
        scene = source.scene(index)
        yield description(scene)
        yield listing(scene)
        yield from captions(scene)
        for question in questions(scene):
            yield question.text
            yield question.answer
            yield choices(scene, question)[0]


def awake(part: Part) -> Part:
    """A new part whose matrices are drawn as wide as their inputs ask for (deviation 1/√width).

    BERT's 0.02 is for a width of 768. At that of a small model attention then begins level over all places, and a
    Q-Former's contrast did not leave log 32, its loss at first, in 60 steps at any of three rates; so drawn it was at
    2.96.
    """
    for layer in part.modules():
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=layer.in_features**-0.5)
    return part


def tower_stage(seed: int) -> Stage:
    """What a published system downloads: a tower that sees. It learns what lies where, and reads letters."""
    return Stage(
        "tower",
        trains={"tower": 2e-3},
        objectives=("recognise",),
        # Signs more often than in the world, and letters that spell nothing: it has to read, not guess.
        data=talks.read(seed, mix={"picture": 1.0}, sign_share=0.5, invented=0.7),
        steps=2000,
        examples_per_batch=32,
        warmup=0.05,
        weight_decay=0.01,
    )


def language_stage(seed: int) -> Stage:
    """The other part that is downloaded: a language model that reads, held to the text-only oracle."""
    return Stage(
        "language",
        trains={"language": 3e-3},
        data=talks.read(
            seed + 1, mix={"listing": 0.5, "reading": 0.5}, sign_share=0.3, invented=0.5
        ),
        steps=2400,
        gate=text_oracle,
        **SPEAKING,
    )


def seeing(name: str) -> SmallTower:
    """A tower that was trained already: of the size mini, the one that ships; of any other size a new one, which
    sees nothing until `tower_stage` has trained it."""
    if name != "mini":
        return tower(name)
    from looksay.models import checkpoint

    found: SmallTower = checkpoint.load(checkpoint.SHIPPED, dtype=torch.float32).tower
    return found


def eyes_first(name: str, seed: int) -> list[Stage]:
    """What trains the tower that `seeing` gives of that size; nothing where it sees already."""
    return [] if name == "mini" else [tower_stage(seed)]


def text_oracle(model: Any, scenes: int = 200, least: float = 0.9) -> None:
    """Raise TrainingError where the language model, given scenes as lists, names less than `least` of
    their groups: one that cannot read from text cannot read from a tower, whatever stands between."""
    found = named(model, scenes)
    if found < least:
        raise TrainingError(
            f"The language model names {found:.0%} of the groups of scenes that it is given as lists; "
            f"{least:.0%} is the least to build on. Train the stage for longer: add --steps language=N."
        )


def named(model: Any, scenes: int) -> float:
    """Share of the groups that descriptions from lists name, over fresh scenes."""
    world = Scenes(0, "test")
    drawn = [world.scene(index) for index in range(scenes)]
    asked = [Conversation.ask(f"{listing(scene)}\n{talks.FROM_LIST}") for scene in drawn]
    answers = model.generate(asked, Options(max_tokens=100), batch_size=50)
    hits = [
        f" {group.name} " in answer.text.replace(",", " ").replace(".", " ")
        for scene, answer in zip(drawn, answers, strict=True)
        for group in scene.groups
    ]
    return sum(hits) / len(hits)
