"""Three kinds of tokenizers, built on the spot: byte-level BPE, SentencePiece-like with a prefix space, whole words."""

from __future__ import annotations

from typing import Any

CORPUS = [
    "A dog and two cats lie on the beach near a red boat.",
    "What is left of the house? The tree is left of the house.",
    "How many birds are there? There are three birds, and one fish.",
    "user assistant system USER: ASSISTANT: Describe the image in detail.\n",
]

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
LLAMA_3 = (
    "{{ bos_token }}{% for m in messages %}{{ '<|start_header_id|>' + m['role'] + "
    "'<|end_header_id|>\\n\\n' + m['content'] | trim + '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"
)
LLAMA_2 = (
    "{% if messages[0]['role'] == 'system' %}{% set rest = messages[1:] %}"
    "{% set system = '<<SYS>>\\n' + messages[0]['content'] + '\\n<</SYS>>\\n\\n' %}"
    "{% else %}{% set rest = messages %}{% set system = '' %}{% endif %}"
    "{% for m in rest %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}"
    "{% if m['role'] == 'user' %}{{ bos_token + '[INST] ' + (system if loop.first else '') "
    "+ m['content'].strip() + ' [/INST]' }}"
    "{% else %}{{ ' ' + m['content'].strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
)
WORDS = (
    "{% for m in messages %}{{ m['role'] + ' : ' + m['content'] + ' ' }}"
    "{% if m['role'] == 'assistant' %}{{ eos_token + ' ' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant : ' }}{% endif %}"
)


def byte_bpe(template: str = CHATML) -> Any:
    """Like Llama-3's and Qwen2's: no prefix space, every byte known."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|begin_of_text|>", "<|im_start|>", "<|im_end|>", "<|start_header_id|>"]
    special += ["<|end_header_id|>", "<|eot_id|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    eos = "<|im_end|>" if template == CHATML else "<|eot_id|>"
    return _dressed(tokenizer, template, eos_token=eos, bos_token="<|begin_of_text|>")


def sentencepiece(legacy: bool = False) -> Any:
    """Like Llama-2's: a Unigram model with "▁" for spaces and one before the text; `legacy` puts it
    before whatever follows a control token as well."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.Unigram())
    scheme = "always" if legacy else "first"
    tokenizer.normalizer = normalizers.Replace(Regex("\u2581"), "_")
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    tokenizer.decoder = decoders.Metaspace(prepend_scheme=scheme)
    letters = [chr(i) for i in range(32, 127)] + ["\n", "\u2581"]
    trainer = trainers.UnigramTrainer(
        vocab_size=300,
        special_tokens=["<unk>", "<s>", "</s>"],
        unk_token="<unk>",
        initial_alphabet=letters,
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS * 4, trainer)
    from tokenizers.processors import TemplateProcessing

    tokenizer.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return _dressed(tokenizer, LLAMA_2, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def llama(legacy: bool) -> Any:
    """transformers' own LlamaTokenizer (BPE with bytes to fall back on), in both of its behaviours."""
    from transformers import LlamaTokenizer

    from looksay.models.prompting import add_image_token

    model = _byte_fallback_bpe()
    merges = [tuple(pair) for pair in model["merges"]]
    tokenizer = LlamaTokenizer(vocab=model["vocab"], merges=merges, legacy=legacy)
    tokenizer.chat_template = LLAMA_2
    add_image_token(tokenizer)
    return tokenizer


def vicuna() -> Any:
    """As in Llama-2's and Vicuna's tokenizer.json: a normaliser sets a space before every stretch of
    text, also where one stands already."""
    from tokenizers import Tokenizer, decoders, models, normalizers
    from tokenizers.processors import TemplateProcessing

    model = _byte_fallback_bpe()
    merges = [tuple(pair) for pair in model["merges"]]
    tokenizer = Tokenizer(
        models.BPE(model["vocab"], merges, byte_fallback=True, unk_token="<unk>", fuse_unk=True)
    )
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("\u2581", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    tokenizer.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return _dressed(tokenizer, LLAMA_2, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def _byte_fallback_bpe() -> dict[str, Any]:
    import json

    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    trained = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    trained.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=500, special_tokens=special, show_progress=False)
    trained.train_from_iterator(CORPUS * 4, trainer)
    model: dict[str, Any] = json.loads(trained.to_str())["model"]
    return model


def whole_words() -> Any:
    """Every word of the corpus, and nothing else."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = {w for line in CORPUS for w in line.replace("?", " ?").replace(".", " .").split()}
    vocabulary = ["<pad>", "<unk>", "</s>", ":", ",", *sorted(words)]
    tokenizer = Tokenizer(
        models.WordLevel({w: i for i, w in enumerate(dict.fromkeys(vocabulary))}, "<unk>")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return _dressed(tokenizer, WORDS, eos_token="</s>", unk_token="<unk>", pad_token="<pad>")


def _dressed(tokenizer: Any, template: str, **named: str) -> Any:
    from transformers import PreTrainedTokenizerFast

    from looksay.models.prompting import add_image_token

    dressed = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, clean_up_tokenization_spaces=False, **named
    )
    dressed.chat_template = template
    add_image_token(dressed)
    return dressed
