"""`looksay describe` beside a plain loop of transformers, on the same photos, with the same image tokens and 40 words.

    python benchmarks/describing.py [--rounds 1] [--only smolvlm|llava] [--arms "bfloat16,int8,int4,int8 openvino"]
                                    [--photos 12]
                                    [--megapixels 3] [--no-check] [--cpu]

The plain loop opens a photo, asks the processor, `model.generate` (bfloat16, one photo at a time) and decodes; looksay
describes the same folder through its library, every answer stored. Two models with random weights in the layout of
their releases: SmolVLM-256M (Idefics3: up to 13 tiles of 512 px a photo) and a LLaVA of Qwen2-0.5B behind CLIP-L/336
(576 image tokens). No word of theirs ends an answer, so both arms write exactly 40. Each arm is a process of its own,
in turns within a round; loading is told apart; a ratio is of one round. `--cpu` takes ratios of the processes' CPU time,
which a busy machine changes less.

Before that, both arms answer about two small photos in float32, and must say the same, word for word; where they do not,
the two words have to be a tie within rounding, or this stops.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measured import tell
from released_layouts import MODELS, asked

WORDS = 40
TIE = 1e-3
"""Scores that differ by less are the same to rounding: they are sums of hundreds of numbers of the size of 1."""


def photos(folder, number, width_px, height_px):
    """JPEGs of soft shapes under fine grain, no two alike, in a library that has been scanned."""
    from PIL import Image as Pillow

    from looksay import Library

    folder.mkdir()
    for seed in range(number):
        chance = random.Random(seed)
        shapes = Pillow.frombytes("RGB", (16, 12), chance.randbytes(16 * 12 * 3))
        grain = Pillow.frombytes(
            "L", (width_px // 4, height_px // 4), chance.randbytes(width_px // 4 * (height_px // 4))
        )
        large = [
            one.resize((width_px, height_px), Pillow.Resampling.BICUBIC) for one in (shapes, grain)
        ]
        Pillow.blend(large[0], large[1].convert("RGB"), 0.15).save(
            folder / f"{seed:03}.jpg", quality=88
        )
    with Library(folder) as library:
        library.scan()


# -- arms, each in a process of its own


def released(model, dtype):
    """Processor and model of a folder, as the cards of such models load them."""
    import torch
    from transformers import AutoModelForImageTextToText, AutoProcessor

    processor = AutoProcessor.from_pretrained(model, backend="pil")
    net = AutoModelForImageTextToText.from_pretrained(model, dtype=getattr(torch, dtype)).eval()
    return processor, net


def inputs_of(processor, net, path):
    """A photo and the words of a request as that model takes them."""
    from PIL import Image as Pillow

    system, question = asked()
    image = Pillow.open(path).convert("RGB")
    talk = [
        {"role": "system", "content": [{"type": "text", "text": system}]},
        {
            "role": "user",
            "content": [{"type": "image", "image": image}, {"type": "text", "text": question}],
        },
    ]
    return processor.apply_chat_template(
        talk, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
    ).to(dtype=net.dtype)


def plain(model, folder, dtype):
    """A photo at a time, as the cards of such models show it."""
    import torch

    began = time.perf_counter()
    processor, net = released(model, dtype)
    loaded, loaded_cpu = time.perf_counter(), time.process_time()
    texts, tokens = {}, []
    for path in sorted(folder.glob("*.jpg")):
        inputs = inputs_of(processor, net, path)
        with torch.inference_mode():
            ids = net.generate(
                **inputs, do_sample=False, min_new_tokens=WORDS, max_new_tokens=WORDS
            )
        new = ids[:, inputs["input_ids"].shape[1] :]
        (texts[path.name],) = processor.batch_decode(new, skip_special_tokens=True)
        tokens.append((inputs["input_ids"].shape[1], new.shape[1]))
    return {
        "load_s": loaded - began,
        "seconds": time.perf_counter() - loaded,
        "cpu_s": time.process_time() - loaded_cpu,
        "texts": texts,
        "tokens": tokens,
        "runs": "plain loop",
    }


def loaded(model, dtype, quantize, runtime):
    from looksay import load
    from looksay.backends.base import LoadOptions

    options = LoadOptions(dtype=dtype, quantize=quantize or None, device="cpu", runtime=runtime)
    return load(f"hub:{model}", options)


def described(model, folder, dtype, quantize, runtime):
    """The same folder through the library."""
    from looksay import Library
    from looksay.backends import engine
    from looksay.types import Options

    began = time.perf_counter()
    backend = loaded(model, dtype, quantize, runtime)
    ready, ready_cpu = time.perf_counter(), time.process_time()
    idle = []
    turn = engine.Engine.next

    def next_of(self, wait=True, **more):
        if not wait:
            return turn(self, wait, **more)
        start = time.perf_counter()
        found = turn(self, wait, **more)
        idle.append(time.perf_counter() - start)
        return found

    engine.Engine.next = next_of
    with Library(folder) as library:
        report = library.describe(
            backend, again=True, context=(), options=Options(max_tokens=WORDS)
        )
        texts = {
            target.path: max(library.show(target.path), key=lambda one: one["id"])["raw"]
            for target, _ in library.targets()
        }
    if report.failures:
        raise SystemExit(f"{report.failures[0]}")
    engines = "OpenVINO" if "openvino" in backend.fingerprint else "torch"
    return {
        "load_s": ready - began,
        "seconds": report.seconds,
        "cpu_s": time.process_time() - ready_cpu,
        "texts": texts,
        "tokens": [(report.prompt_tokens, report.completion_tokens)],
        "idle_s": sum(idle[1:-1]),  # without the first photo, and the end
        "runs": f"{engines} {quantize or dtype}",
    }


def tied(model, folder, name, ours, theirs):
    """How far apart the scores are of the first words that two answers differ in, in float64."""
    import torch

    processor, net = released(model, "float64")
    inputs = inputs_of(processor, net, folder / name)
    one, other = (
        processor.tokenizer(f" {text.strip()}", add_special_tokens=False)["input_ids"]
        for text in (ours, theirs)
    )
    at = next(n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    inputs["input_ids"] = torch.cat([inputs["input_ids"], torch.tensor([one[:at]])], dim=1).long()
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    with torch.inference_mode():
        scores = net(**inputs, logits_to_keep=1).logits[0, -1]
    return {"apart": abs(float(scores[one[at]] - scores[other[at]])), "at": at}


def alone(what, *given):
    """What an arm finds in a process of its own, and the peak of that process's memory."""
    line = [sys.executable, "-W", "ignore", __file__, "--one", what, *map(str, given)]
    quiet = {**os.environ, "TRANSFORMERS_VERBOSITY": "error", "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(line, capture_output=True, text=True, check=False, env=quiet)
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    return json.loads(done.stdout.splitlines()[-1])


def run_one(what, given):
    if what == "make":
        MODELS[given[0]][0](Path(given[1]))
        found = {}
    elif what == "load":
        loaded(Path(given[0]), *given[1:])
        found = {}
    elif what == "plain":
        found = plain(Path(given[0]), Path(given[1]), given[2])
    elif what == "looksay":
        found = described(Path(given[0]), Path(given[1]), *given[2:])
    else:
        found = tied(Path(given[0]), Path(given[1]), *given[2:])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found["peak_mb"] = peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)
    print(json.dumps(found))


# -- rounds


def check(name, model, folder):
    """Both arms say the same in float32."""
    theirs = alone("plain", model, folder, "float32")["texts"]
    ours = alone("looksay", model, folder, "float32", "", "auto")["texts"]
    if theirs.keys() != ours.keys() or len(set(theirs.values())) < 2:
        raise SystemExit(f"{name}: nothing to compare: {theirs} {ours}")
    same = 0
    for photo, text in theirs.items():
        if ours[photo].strip() == text.strip():
            same += 1
            continue
        found = alone("tied", model, folder, photo, ours[photo], text)
        print(f"{name}, {photo}: differs from word {found['at']} on, {found['apart']:.1e} apart")
        if found["apart"] > TIE:
            raise SystemExit(f"{name}: not a tie.\nlooksay: {ours[photo]}\nplain:   {text}")
    print(f"{name}: float32 texts of {same} of {len(theirs)} photos are the same", flush=True)


def told(found, number, cpu):
    rate = 60 * number / found["seconds"]
    prompt, new = (sum(column) for column in zip(*found["tokens"], strict=True))
    if new != WORDS * number:
        raise SystemExit(f"{found['runs']}: {new} words, expected {WORDS * number}")
    idle = f", the model waited {found['idle_s']:.2f} s for photos" if "idle_s" in found else ""
    print(
        f"  {found['runs']}: {rate:.1f} photos/min, {found['seconds']:.1f} s ({found['cpu_s']:.1f} s CPU), {prompt / number:.0f} tokens a prompt, "
        f"loaded in {found['load_s']:.1f} s, peak {found['peak_mb']:,.0f} MB{idle}",
        flush=True,
    )
    return (60 * number / found["cpu_s"] if cpu else rate), prompt


def main(args):
    with tempfile.TemporaryDirectory() as where:
        folder = Path(where)
        height_px = round((args.megapixels * 1e6 * 3 / 4) ** 0.5)
        for name in args.only or MODELS:
            called = MODELS[name][1]
            number = args.photos or (6 if name == "smolvlm" else 16)
            model, many = folder / name, folder / f"{name}-photos"
            alone("make", name, model)
            photos(many, number, round(height_px * 4 / 3), height_px)
            if args.check:
                # Small enough for neither arm to shrink them before the processor does.
                few = folder / f"{name}-few"
                photos(few, 2, 1400, 340)
                check(called, model, few)
            ratios, peaks = {}, {}
            for number_of_round in range(args.rounds):
                print(f"{called}, round {number_of_round + 1}")
                base = alone("plain", model, many, "bfloat16")
                rate, prompt = told(base, number, args.cpu)
                for arm in args.arms:
                    dtype = arm if arm in ("bfloat16", "float32") else "bfloat16"
                    bits, _, runtime = ("" if arm == dtype else arm).partition(" ")
                    given = [dtype, bits, runtime or "auto"]
                    if bits and not number_of_round:  # what is made once is kept then
                        alone("load", model, *given)
                    found = alone("looksay", model, many, *given)
                    ours, said = told(found, number, args.cpu)
                    if said != prompt:
                        raise SystemExit(f"{said} tokens of prompts, and {prompt} in the loop")
                    ratios.setdefault(found["runs"], []).append(ours / rate)
                    peaks.setdefault(found["runs"], []).append(found["peak_mb"] / base["peak_mb"])
            for arm, values in ratios.items():
                aim = "≥ 1.5" if arm.endswith("float16") else "≥ 4"
                tell(f"describe beside a plain bf16 loop, {called}, {arm}", values, aim=aim)
                tell(
                    f"its peak memory beside that loop's, {called}, {arm}", peaks[arm], aim="≤ 1.2"
                )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        run_one(sys.argv[2], sys.argv[3:])
        raise SystemExit
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--only", type=lambda text: text.split(","))
    parser.add_argument(
        "--arms", type=lambda text: text.split(","), default=["bfloat16", "int8", "int8 openvino"]
    )
    parser.add_argument("--photos", type=int, help="of each model; else 6 and 16")
    parser.add_argument("--megapixels", type=float, default=3.0)
    parser.add_argument("--cpu", action="store_true", help="ratios of CPU time")
    parser.add_argument("--check", action=argparse.BooleanOptionalAction, default=True)
    main(parser.parse_args())
