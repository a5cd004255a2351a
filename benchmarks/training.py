"""How fast the loop learns beside transformers' Trainer, and what the loss holds beside full logits.

    python benchmarks/training.py [--stages llava/align,llava/instruct] [--examples 256] [--rounds 3] [--precision fp32]
    python benchmarks/training.py --stages all --rounds 5

All arms train the same model (size mini, on scenes) on the same encoded examples in batches of the same budget, with
AdamW and torch's fused attention; arms take turns within a round. Tokens are those of the examples: padding is no work
done. "Features known" is an epoch after the first one, or a later stage over the same tower: the loop keeps what the
tower saw, the Trainer looks again. The Trainer's loss is over full logits, as transformers' models have it, where the
stage learns words alone.

Utilisation (MFU): FLOP of the examples' matrix products, forward and backward, per second, over those of the best
product of two matrices in the same process, threads and precision.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch
from limits import counted, peak_flops
from measured import tell
from torch import nn

from looksay import plugins
from looksay.data.dataset import Examples
from looksay.models.batching import pad
from looksay.models.losses import full_loss, token_loss
from looksay.training import optim
from looksay.training.feed import Feed
from looksay.training.gradients import Gradients
from looksay.training.loop import train
from looksay.training.sums import Sums

BATCH = 16
FEW = ("llava/align", "llava/instruct")
STAGES = (
    *FEW, "minigpt4/align", "minigpt4/tune", "collavo/crayon", "collavo/dual", "moai/experts", "moai/gates",
    "blip2/represent", "blip2/generate", "flamingo/flamingo", "simvlm/prefix", "simvlm/answers", "pali/main",
    "albef/pretrain", "blip/pretrain", "blip/caption", "clip/pairs",
)  # fmt: skip
"""What a family trains in its first and second stage, its language model and tower being there."""


class Padded(nn.Module):
    """The model as the Trainer wants it: rows of one example each."""

    def __init__(self, model, stage):
        super().__init__()
        self.model, self.stage = model, stage
        self.words = stage.objectives == ("lm",) and hasattr(model, "hidden")

    def train(self, mode=True):
        super().train(mode)
        for part in self.model.parts.values():  # what rests is no more trained than in the loop
            part.train(mode and any(weight.requires_grad for weight in part.parameters()))
        return self

    def forward(self, batch):
        if self.words:
            weight_VD, bias_V = self.model.language.head
            hidden_BTD = self.model.hidden(batch)
            loss = full_loss(hidden_BTD, weight_VD, batch.labels_BT, batch.segments_BT, bias_V)
        else:
            found = self.model(batch, objectives=self.stage.objectives)
            loss = sum(one for one in found.values() if one.requires_grad)
        return {"loss": loss}


class Encoded:
    """Sequences that are encoded already; grouping sorts by the length of `input_ids`."""

    def __init__(self, sequences):
        self._sequences = sequences

    def __len__(self):
        return len(self._sequences)

    def __getitem__(self, place):
        sequence = self._sequences[place]
        return {"sequence": sequence, "input_ids": sequence.ids}


def by_trainer(model, stage, sequences, grouped, precision):
    from transformers import Trainer, TrainingArguments

    class Unwrapped(Trainer):
        def _prepare_inputs(self, inputs):
            return inputs

    optim.thaw(model.parts, stage)
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder,
            per_device_train_batch_size=stage.examples_per_batch or BATCH,
            num_train_epochs=1,
            learning_rate=1e-4,
            use_cpu=True,
            bf16=precision == "bf16",
            report_to=[],
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
            remove_unused_columns=False,
            dataloader_pin_memory=False,
            dataloader_drop_last=stage.examples_per_batch is not None,
            train_sampling_strategy="group_by_length" if grouped else "random",
        )
        trainer = Unwrapped(
            Padded(model, stage),
            arguments,
            train_dataset=Encoded(sequences),
            data_collator=lambda items: {"batch": pad([item["sequence"] for item in items])},
        )
        began = time.perf_counter()
        trainer.train()
        return sum(len(s.ids) for s in sequences) / (time.perf_counter() - began)


def by_loop(model, stage, precision, features=None):
    stage = replace(stage, cache_features=features is not None)
    with tempfile.TemporaryDirectory() as folder:
        options = {"device": "cpu", "quiet": True, "log_every": 10**6, "precision": precision}
        train(model, [stage], folder, features=features, **options)
        lines = (Path(folder) / "log.jsonl").read_text("utf-8").splitlines()
        return json.loads(lines[-1])["tokens_per_s"]


def prepared(name, count):
    """The model before a stage, the stage over `count` encoded examples once, and these."""
    family, wanted = name.split("/")
    model, stages = plugins.load("looksay.training.recipes", family, "recipe").scenes("mini", 0)
    stage = next(one for one in stages if one.name == wanted)
    each = stage.examples_per_batch
    count = -(-count // each) * each if each else count
    examples = [stage.data.example(number) for number in range(count)]
    sequences = [
        model.encode(one, template=stage.template, objectives=stage.objectives) for one in examples
    ]
    known = {one.id: sequence for one, sequence in zip(examples, sequences, strict=True)}
    model.encode = lambda example, **_: known[example.id]
    ids = sum(len(one.ids) for one in sequences)
    budget = max(stage.tokens_per_batch, *(len(one.ids) for one in sequences))
    stage = replace(
        stage,
        data=Examples(examples),
        steps=count // each if each else max(1, round(ids / budget)),
        tokens_per_batch=budget,
        optimizer="adamw",
        gate=None,
    )
    return model, stage, sequences


def speed(name, count, rounds, precision):
    model, stage, sequences = prepared(name, count)
    lengths = sorted(len(s.ids) for s in sequences)
    size = stage.examples_per_batch or BATCH
    batches = [lengths_of(sequences[at : at + size]) for at in range(0, len(sequences), size)]
    padded = 1 - sum(lengths) / max(1, sum(size * max(batch) for batch in batches))
    print(
        f"\n{name}: {len(lengths)} examples of {lengths[0]} to {lengths[-1]} ids, median "
        f"{lengths[len(lengths) // 2]}; of plain batches of {size}, {padded:.0%} is padding: leaving it out is "
        f"{1 / (1 - padded):.2f} times"
    )
    with tempfile.TemporaryDirectory() as kept:
        arms = {
            "Trainer, padded": lambda model: by_trainer(model, stage, sequences, False, precision),
            "Trainer, grouped": lambda model: by_trainer(model, stage, sequences, True, precision),
            "packed" if stage.pack else "loop": lambda model: by_loop(model, stage, precision),
        }
        if stage.adapter is not None:  # peft's adapters are put there by the loop
            arms = {"packed": arms["packed"]}
        if "tower" in model.parts and "tower" not in stage.trains:
            arms["features known"] = lambda model: by_loop(model, stage, precision, Path(kept))
        rates = {arm: [] for arm in arms}
        for number in range(rounds + 1):
            for arm, work in arms.items():
                rate = work(copy.deepcopy(model))
                if number:  # the first round warms up
                    rates[arm].append(rate)
    for arm, found in rates.items():
        print(f"  {arm}: {statistics.median(found):,.0f} tokens/s")
    ours = [arm for arm in rates if not arm.startswith("Trainer")]
    for beside in (arm for arm in rates if arm.startswith("Trainer")):
        for arm in ours:
            ratios = [one / other for one, other in zip(rates[arm], rates[beside], strict=True)]
            tell(f"training {name} ({precision}): {arm} beside {beside}", ratios)
    done, filled = work_of(copy.deepcopy(model), stage, precision)
    peak = peak_flops(torch.bfloat16 if precision == "bf16" else torch.float32)
    used = [100 * done * rate / peak for rate in rates[ours[0]]]
    print(f"  {done / 1e6:,.1f} MFLOP a token; peak {peak / 1e9:,.0f} GFLOP/s")
    tell(f"training {name} ({precision}): model FLOP utilisation", used, unit="%")
    if stage.pack:
        tell(f"training {name}: ids that are not padding", [100 * filled], unit="%", aim="≥ 95")


def lengths_of(sequences):
    return [len(one.ids) for one in sequences]


def work_of(model, stage, precision):
    """FLOP per id of the loop's batches, and the share of their places that are ids."""
    from accelerate import Accelerator

    if stage.adapter is not None:
        from looksay.training import adapters

        adapters.attach(model, stage.adapter, seed=0)
    optim.thaw(model.parts, stage)
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    gradients = Gradients(model, stage, Accelerator(cpu=True), dtype)
    image_id = getattr(getattr(model, "prompter", None), "image_id", None)
    pad_id = int(getattr(getattr(model, "tokenizer", None), "pad_token_id", None) or 0)
    with Feed(stage, model.encode, pad_id=pad_id, image_id=image_id) as feed:
        fed = [one for (feds, _), _ in zip(feed, range(stage.steps), strict=False) for one in feds]
    some = fed[:2]
    flops = sum(counted(lambda one=one: gradients.add([one], Sums())) for one in some)
    places = sum(one.batch.ids_BT.numel() for one in fed)
    return flops / max(1, sum(one.tokens for one in some)), sum(one.tokens for one in fed) / max(
        1, places
    )


def peak(kind, words=32_000, width=256, tokens=2048):
    """Bytes that one loss with gradients adds to a fresh process at its peak."""
    import resource

    hidden = torch.randn(1, tokens + 1, width, requires_grad=True)
    weight = torch.randn(words, width, requires_grad=True)
    labels = torch.randint(0, words, (1, tokens + 1))
    segments = torch.ones_like(labels)
    loss = {"chunked": token_loss, "full": full_loss}[kind]
    token_loss(hidden[:, :5], weight, labels[:, :5], segments[:, :5]).backward()
    hidden.grad = weight.grad = None
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    loss(hidden, weight, labels, segments).backward()
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)


def memory():
    found = {}
    for kind in ("full", "chunked"):
        command = [sys.executable, __file__, "--peak", kind]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found[kind] = int(done.stdout)
        print(
            f"Loss of 2,048 ids over 32,000 words, {kind}: {found[kind] / 1e6:.0f} MB at the peak"
        )
    share = found["chunked"] / found["full"]
    tell("memory of the loss beside full logits, 2,048 ids of 32,000 words", [share], aim="≤ 0.25")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--stages", default=",".join(FEW), help="FAMILY/STAGE,…, or all")
    parser.add_argument("--examples", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--peak", choices=["full", "chunked"], help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.peak:
        peak(asked.peak)
    else:
        memory()
        for name in STAGES if asked.stages == "all" else asked.stages.split(","):
            speed(name, asked.examples, asked.rounds, asked.precision)
