"""How fast the engine and the server answer, beside what there is without them.

    python benchmarks/serving.py engine  [--geometry 0.5b|mini] [--rounds 3] [--dtype float32]
    python benchmarks/serving.py company [--geometry mini] [--requests 200] [--dtype bfloat16]
    python benchmarks/serving.py server  [--clients 64] [--seconds 60]

engine  the same requests (a picture and a question, exactly --words new words each) one at a time, eight side by side
        through the engine, and as one plain batch that was known in advance. Arms take turns within a round, ratios
        are of the same round, the median and the range of them are printed. Decoding alone is timed by steps of the
        same rows.
company the same requests alone and side by side, greedily: how many answers differ, from which word on, and how far apart
        the two words were (in log-probability, alone) where they first did.
server  a server process with `mini`, so many streaming clients for so long: every stream must end and be the greedy
        answer of the same request alone; then what the server adds to a request beside the bare engine.

The 0.5b geometry has random weights: what it says means nothing, what it costs does.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import io
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

from measured import tell
from PIL import Image as Pillow

from looksay.types import Conversation, Image, Options


def geometry(name, dtype):
    """A backend: `mini`, or a LLaVA of Qwen2-0.5B's and CLIP-B/32's shape with random weights."""
    from looksay.backends.base import LoadOptions
    from looksay.backends.loading import load
    from looksay.backends.local import Local

    if name == "mini":
        return load("mini", LoadOptions(dtype=dtype))
    import torch
    from transformers import CLIPVisionConfig, CLIPVisionModel, Qwen2Config, Qwen2ForCausalLM

    from looksay.models.connectors import MLP
    from looksay.models.families.llava import Llava
    from looksay.models.language import Language
    from looksay.models.prompting import add_image_token
    from looksay.models.vision import TransformersTower
    from looksay.training.recipes import _small

    torch.manual_seed(0)
    tower = CLIPVisionModel(
        CLIPVisionConfig(
            hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12,
            image_size=224, patch_size=16,
        )
    )  # fmt: skip
    language = Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=151_936, hidden_size=896, intermediate_size=4864, num_hidden_layers=24,
            num_attention_heads=14, num_key_value_heads=2, tie_word_embeddings=True,
        )
    )  # fmt: skip
    tokenizer = _small.tokenizer()
    add_image_token(tokenizer)
    seeing = TransformersTower(tower, layer=-2, drop_cls=True, fit="stretch")
    model = Llava(seeing, MLP(768, 896), Language(language, attention="sdpa"), tokenizer)
    model = model.to(getattr(torch, dtype)).eval()
    return Local("random", model, model.device, "random", {}, 8, model.prompter.image_tokens)


def pictures(count, px=224):
    from looksay.data.scenes import Scenes

    return [Scenes(3, "test").scene(n).image().resize((px, px)) for n in range(count)]


def engine(args):
    import torch

    from looksay.backends._kept import Seen
    from looksay.backends.opening import open_engine
    from looksay.backends.tickets import Done, Ticket

    backend = geometry(args.geometry, args.dtype)
    model = backend._model
    options = Options(max_tokens=args.words, timeout_s=1e9)
    asked = [
        Conversation.ask(Image(picture), "Describe the picture in detail.")
        for picture in pictures(args.requests)
    ]
    if args.geometry != "mini":  # no word ends an answer
        for name in ("transcripts",):
            whole = getattr(model, name)

            def endless(*given, whole=whole):
                made = whole(*given)
                for one in made:
                    one.stop_ids, one.stop = frozenset(), ()
                return made

            setattr(model, name, endless)

    def through(at_once):
        steps = backend.steps
        steps._prefixes.recent.items.clear()
        steps._prefixes.recent.bytes = 0
        Seen.forget()
        running = open_engine(backend, rows=at_once)
        started = time.perf_counter()
        tickets = [running.submit(Ticket(talk, options)) for talk in asked]
        words = 0
        for ticket in tickets:
            end = list(ticket)[-1]
            assert isinstance(end, Done), end
            words += end.completion_tokens
        spent = time.perf_counter() - started
        running.close()
        return words / spent

    def plain():
        started = time.perf_counter()
        ready = [model.prepare(talk) for talk in asked]
        words = 0
        for start in range(0, len(ready), args.at_once):
            some = ready[start : start + args.at_once]
            words += sum(one.completion_tokens for one in model.answer(some, options, len(some)))
        return words / (time.perf_counter() - started)

    def decoding(rows):
        """Words per second of steps alone."""
        steps = backend.steps
        slots = steps.slots()
        for talk in asked[:rows]:
            slots.join(steps.begin([steps.prompt(talk)])[0].layers)
        started = time.perf_counter()
        for _ in range(args.words):
            steps.step([5] * rows, slots)
        return rows * args.words / (time.perf_counter() - started)

    rounds = []
    print(
        f"{args.geometry}, {args.dtype}, {torch.get_num_threads()} threads, {args.words} words an answer"
    )
    for _ in range(args.rounds):
        one, many, known = through(1), through(args.at_once), plain()
        alone, together = decoding(1), decoding(args.at_once)
        rounds.append((many / one, many / known, together / alone))
        print(
            f"  end to end: one at a time {one:.1f}, {args.at_once} side by side {many:.1f}, plain batch {known:.1f} "
            f"words/s; decoding: {alone:.1f} and {together:.1f}",
            flush=True,
        )
    for what, ratios in zip(
        (
            f"{args.at_once} side by side over one at a time, end to end",
            "side by side over a plain batch known in advance, end to end",
            f"decoding, {args.at_once} rows over one",
        ),
        zip(*rounds, strict=True),
        strict=True,
    ):
        tell(f"{args.geometry}, {args.dtype}: {what}", ratios)


# -- company


def company(args):
    from looksay.backends.opening import open_engine
    from looksay.backends.tickets import Done, Ticket, Wish

    backend = geometry(args.geometry, args.dtype)
    options = Options(max_tokens=args.words, timeout_s=1e9)
    asked = [
        Conversation.ask(Image(picture), "Describe the picture in detail.")
        for picture in pictures(args.requests)
    ]

    def answered(at_once):
        running = open_engine(backend, rows=at_once, waiting=len(asked))
        tickets = [running.submit(Ticket(talk, options, wish=Wish(logprobs=2))) for talk in asked]
        found = []
        for ticket in tickets:
            said = list(ticket)
            assert isinstance(said[-1], Done), said[-1]
            found.append([one for piece in said[:-1] for one in piece.scored])
        running.close()
        return found

    alone, again, together = answered(1), answered(1), answered(args.at_once)
    words = sum(map(len, alone))
    print(f"{args.geometry}, {args.dtype}: {len(alone)} answers of {words / len(alone):.1f} words")
    print(
        f"  alone twice: {sum(a != b for a, b in zip(texts(alone), texts(again), strict=True))} differ"
    )
    parted = []
    for mine, theirs in zip(alone, together, strict=True):
        first = next(
            (n for n, (a, b) in enumerate(zip(mine, theirs, strict=False)) if a.text != b.text),
            None,
        )
        if first is not None:
            (_, best), (_, second) = mine[first].top[:2]
            parted.append((first, best - second))
    print(
        f"  {args.at_once} side by side: {len(parted)} of {len(alone)} differ from the answer alone"
    )
    for first, apart in sorted(parted, key=lambda one: -one[1])[:10]:
        print(f"    from word {first + 1} on, where the two likeliest were {apart:.4f} nats apart")


def texts(answers):
    return [[one.text for one in answer] for answer in answers]


# -- the server


def data_url(picture: Pillow.Image) -> str:
    out = io.BytesIO()
    picture.save(out, "PNG")
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()


def started(port):
    """A server process with `mini` that listens."""
    command = [sys.executable, "-m", "looksay", "serve", "--model", "mini", "--port", str(port)]
    process = subprocess.Popen([*command, "--no-page"], stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if "/v1" in line:
            break
    threading.Thread(target=process.stderr.read, daemon=True).start()
    return process


def resident(pid):
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def load(url, asked, expected, clients, seconds):
    """Streams that ended, faults, and the longest pause between two pieces."""
    import openai

    async with openai.AsyncOpenAI(
        base_url=url, api_key="none", max_retries=0, timeout=300
    ) as client:
        return await loaded(client, asked, expected, clients, seconds)


async def loaded(client, asked, expected, clients, seconds):
    until = time.perf_counter() + seconds
    ended, faults, pauses, words = 0, [], [], 0

    async def one(number):
        nonlocal ended, words
        turn = number
        while time.perf_counter() < until:
            which = turn % len(asked)
            turn += 7
            text, last = "", time.perf_counter()
            try:
                stream = await client.chat.completions.create(
                    model="mini", messages=asked[which], temperature=0, stream=True, max_tokens=100
                )
                reason = None
                async for piece in stream:
                    now = time.perf_counter()
                    pauses.append(now - last)
                    last = now
                    text += piece.choices[0].delta.content or ""
                    reason = piece.choices[0].finish_reason or reason
                if reason is None or text != expected[which]:
                    faults.append((which, reason, text, expected[which]))
                ended += 1
                words += len(text.split())
            except Exception as error:
                faults.append((which, repr(error)))

    await asyncio.gather(*(one(n) for n in range(clients)))
    return ended, faults, max(pauses), words


def server(args):
    from looksay.backends.opening import open_engine
    from looksay.backends.tickets import Piece, Ticket

    backend = geometry("mini", "float32")
    options = Options(max_tokens=100)
    questions = (
        "Describe the picture in detail.",
        "What is on the left?",
        "How many things are there?",
    )
    talks = [
        (picture, questions[n % len(questions)]) for n, picture in enumerate(pictures(24, 128))
    ]
    alone = open_engine(backend, rows=1)

    def answered(picture, question):
        talk = Conversation.ask(Image(picture), question)
        ticket = alone.submit(Ticket(talk, options))
        return "".join(event.text for event in ticket if isinstance(event, Piece))

    expected = [answered(*talk) for talk in talks]
    asked = [
        [{"role": "user", "content": [
            {"type": "image_url", "image_url": {"url": data_url(picture)}},
            {"type": "text", "text": question},
        ]}]
        for picture, question in talks
    ]  # fmt: skip
    process = started(args.port)
    url = f"http://127.0.0.1:{args.port}/v1"
    try:
        for part in range(4):
            ended, faults, pause, words = asyncio.run(
                load(url, asked, expected, args.clients, args.seconds / 4)
            )
            print(
                f"{args.clients} clients, quarter {part + 1} of {args.seconds:g} s: {ended} streams, {words} words, "
                f"{len(faults)} faults, longest pause {pause:.2f} s; the server takes "
                f"{resident(process.pid) / 1e6:.0f} MB",
                flush=True,
            )
            for fault in faults[:5]:
                print("  ", fault)
        added(url, asked, talks, alone, options, args.requests)
    finally:
        process.terminate()
        process.wait(60)
        alone.close()


def added(url, asked, talks, alone, options, count):
    """What the server adds to the time of a request, in ms: both take turns on the same request, nothing is reused
    by one that the other does not reuse as well."""
    import openai

    from looksay.backends.tickets import Ticket

    client = openai.OpenAI(base_url=url, api_key="none", max_retries=0)
    short = replace(options, max_tokens=1)
    more = []
    for n in range(len(asked) + count):  # the first time each is read anew
        which = n % len(asked)
        talk = Conversation.ask(
            Image(
                base64.b64decode(asked[which][0]["content"][0]["image_url"]["url"].split(",")[1])
            ),
            talks[which][1],
        )
        begun = time.perf_counter()
        list(alone.submit(Ticket(talk, short)))
        bare = time.perf_counter() - begun
        begun = time.perf_counter()
        client.chat.completions.create(
            model="mini", messages=asked[which], temperature=0, max_tokens=1
        )
        if n >= len(asked):
            more.append(1000 * (time.perf_counter() - begun - bare))
    print(
        f"added by server and client: median {statistics.median(more):.1f} ms of {count} requests"
    )
    body = json.dumps({"model": "mini", "messages": asked[0], "temperature": 0, "max_tokens": 1})
    print(f"  (a request is {len(body) / 1e3:.0f} kB)")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("what", choices=["engine", "company", "server"])
    parser.add_argument("--geometry", default="0.5b", choices=["0.5b", "mini"])
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=8)
    parser.add_argument("--at-once", type=int, default=8)
    parser.add_argument("--words", type=int, default=40)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--port", type=int, default=8765)
    given = parser.parse_args()
    {"engine": engine, "company": company, "server": server}[given.what](given)
