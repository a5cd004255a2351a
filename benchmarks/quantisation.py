"""What weights in 8 and 4 bits save and cost: memory, speed, and quality on scenes, in one run.

    python benchmarks/quantisation.py [--scenes 200] [--prompt 256] [--words 24] [--rounds 3] [--only speed]

Each precision has a process of its own, in turns. Speed is tokens per second of CPU time on one thread, so that a busy
machine changes little: the best of the rounds. Quality is that of `mini`; its size says little about speed, so speed and
memory are also those of a LLaVA of 0.6 billion random weights (Qwen2-0.5B behind CLIP-B/16).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

PRECISIONS = (
    ("float32", None, "torch"),
    ("bfloat16", None, "torch"),
    ("float32", "int8", "torch"),
    ("bfloat16", "int8", "torch"),
    ("float32", "int8", "openvino"),
    ("bfloat16", "int8", "openvino"),
    ("float32", "int4", "openvino"),
    ("bfloat16", "int4", "openvino"),
    ("float32", "int4", "torch"),
    ("float32", "nf4", "torch"),
    ("bfloat16", "nf4", "torch"),
)
CLIP_B = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12}
CLIP_B |= {"num_attention_heads": 12, "image_size": 224, "patch_size": 16, "projection_dim": 512}
QWEN_HALF_B = {"hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24}
QWEN_HALF_B |= {"num_attention_heads": 14, "num_key_value_heads": 2, "vocab_size": 151936}


def held_mb(model):
    """What the weights take: parameters and buffers, 4-bit scales and OpenVINO's graphs included."""
    from looksay.backends import _openvino

    tensors = {t.data_ptr(): t for t in (*model.parameters(), *model.buffers())}
    for weight in model.parameters():
        state = getattr(weight, "quant_state", None)
        if state is not None:
            tensors[state.absmax.data_ptr()] = state.absmax
    graphs = sum(path.stat().st_size for path in _openvino.folder().glob("*.graphs"))
    graphs += sum(getattr(module, "held_bytes", 0) for module in model.modules())
    return (graphs + sum(t.numel() * t.element_size() for t in tensors.values())) / 1e6


def geometry(dtype, quantize, runtime):
    """The LLaVA of random weights."""
    import torch
    from transformers import CLIPVisionConfig, LlavaConfig, Qwen2Config
    from transformers import LlavaForConditionalGeneration as Llava

    from looksay.backends import _openvino, _quantized
    from looksay.models import packed
    from looksay.models.checkpoint import moved

    torch.manual_seed(0)
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(**CLIP_B),
        text_config=Qwen2Config(**QWEN_HALF_B, tie_word_embeddings=True),
        tie_word_embeddings=True,
        image_token_id=151646,
    )
    torch.set_default_dtype(torch.bfloat16)
    model = Llava(config).eval()
    torch.set_default_dtype(torch.float32)
    dtype = getattr(torch, dtype)
    if quantize:
        _quantized.check(quantize, "cpu", runtime)
    if _openvino.holds(quantize, "cpu", runtime):
        ids = torch.full((1, 206), model.config.image_token_id)
        ids[:, :10] = 1
        pixels = torch.zeros(1, 3, 224, 224, dtype=torch.bfloat16)
        _openvino.hold("it", [model], quantize, lambda: model(input_ids=ids, pixel_values=pixels))
    elif quantize:
        _quantized.hold(model, quantize, "cpu", dtype)
    model = moved(model, "cpu", dtype)
    packed.ready(model)
    return model


def speed(dtype, quantize, runtime, prompt, words, rounds):
    """Tokens per second of a prompt with a picture, and of the words after it."""
    import torch
    from transformers import DynamicCache

    torch.set_num_threads(1)
    model = geometry(dtype, quantize, runtime)
    pixels = torch.randn(1, 3, 224, 224).to(getattr(torch, dtype))
    ids = torch.randint(0, 150_000, (1, prompt))
    ids[:, 5:201] = model.config.image_token_id
    read, written = [], []
    with torch.inference_mode():
        for _ in range(rounds):
            cache = DynamicCache()
            began = time.process_time()
            found = model(input_ids=ids, pixel_values=pixels, cache=cache, logits_to_keep=1)
            read.append(prompt / (time.process_time() - began))
            began = time.process_time()
            for _ in range(words):
                found = model(input_ids=found.logits[:, -1:].argmax(-1), cache=cache)
            written.append(words / (time.process_time() - began))
    return {"held_mb": held_mb(model), "read": max(read), "written": max(written)}


def quality(dtype, quantize, runtime, scenes):
    """What `mini` says about test scenes."""
    import torch

    from looksay.backends import load
    from looksay.backends.base import LoadOptions
    from looksay.data.scenes import Scenes
    from looksay.evaluation.benchmarks.scenes import read
    from looksay.evaluation.metrics import scenes as texts
    from looksay.types import Options

    torch.set_num_threads(1)
    options = LoadOptions(dtype=dtype, quantize=quantize, device="cpu", runtime=runtime)
    backend = load("mini", options)
    items = [i for i in read(number=scenes) if i.kind != "caption"]
    began = time.process_time()
    done = sorted(
        backend.complete([i.conversation for i in items], Options(max_tokens=120)),
        key=lambda c: c.index,
    )
    took = time.process_time() - began
    rows, right = [], []
    world = Scenes(1000, "test")
    for item, one in zip(items, done, strict=True):
        if item.kind == "description":
            rows.append(texts.score(one.text, world.scene(item.truth["scene"])))
        else:
            right.append(one.text == item.truth["answer"])

    def share(name):
        pairs = [row[name] for row in rows if row.get(name) is not None]
        return 100 * sum(n for n, _ in pairs) / sum(of for _, of in pairs)

    return {
        "held_mb": held_mb(backend._model),
        "recall": share("object recall"),
        "chair": share("CHAIRi"),
        "questions": 100 * sum(right) / len(right),
        "asked": len(right),
        "words_per_s": sum(one.completion_tokens for one in done) / took,
        "texts": [one.text for one in done],
    }


def alone(what, dtype, quantize, runtime, arguments):
    """One measurement in a process of its own."""
    line = [sys.executable, "-W", "ignore", __file__]
    line += ["--one", what, dtype, quantize or "-", runtime]
    for name in ("scenes", "prompt", "words", "rounds"):
        line += [f"--{name}", str(getattr(arguments, name))]
    with tempfile.TemporaryDirectory() as folder:  # where graphs are kept: these alone
        caches = dict.fromkeys(("XDG_CACHE_HOME", "LOCALAPPDATA"), folder)
        done = subprocess.run(
            line, capture_output=True, text=True, check=False, env=os.environ | caches
        )
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return json.loads(done.stdout.splitlines()[-1])


def called(dtype, quantize, runtime):
    by = ", OpenVINO" if runtime == "openvino" else ""
    return f"{quantize} ({dtype}{by})" if quantize else dtype


def main(arguments):
    if arguments.only != "quality":
        print("| LLaVA, 0.6 B random weights | weights MB | prompt tokens/s | | words/s | |")
        print("|---|---|---|---|---|---|")
        first = None
        for how in PRECISIONS:
            found = alone("speed", *how, arguments)
            first = first or found
            read, written = found["read"] / first["read"], found["written"] / first["written"]
            print(
                f"| {called(*how)} | {found['held_mb']:,.0f} | {found['read']:.0f} | {read:.2f} × "
                f"| {found['written']:.1f} | {written:.2f} × |",
                flush=True,
            )
        print()
    if arguments.only != "speed":
        print("| mini | weights MB | object recall | CHAIRi | questions right | same as float32 |")
        print("|---|---|---|---|---|---|")
        first = None
        for how in PRECISIONS:
            found = alone("quality", *how, arguments)
            first = first or found
            same = sum(map(str.__eq__, first["texts"], found["texts"])) / len(first["texts"])
            print(
                f"| {called(*how)} | {found['held_mb']:.1f} | {found['recall']:.1f} | {found['chair']:.1f} "
                f"| {found['questions']:.1f} of {found['asked']:,} | {100 * same:.1f} % |",
                flush=True,
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=("speed", "quality"))
    for name, usual in (("scenes", 200), ("prompt", 256), ("words", 24), ("rounds", 3)):
        parser.add_argument(f"--{name}", type=int, default=usual)
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        what, dtype, quantize, runtime = asked.one
        quantize = None if quantize == "-" else quantize
        if what == "speed":
            print(
                json.dumps(speed(dtype, quantize, runtime, asked.prompt, asked.words, asked.rounds))
            )
        else:
            print(json.dumps(quality(dtype, quantize, runtime, asked.scenes)))
    else:
        main(asked)
