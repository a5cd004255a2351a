"""How fast the loop learns beside transformers' Trainer, and what the loss holds beside full logits.

    python benchmarks/training.py [--examples 512] [--rounds 3] [--size mini]

All arms train the same model (LLaVA of size mini on scenes, its tower frozen, fp32, torch's fused attention) on
the same encoded examples in batches of the same budget; rounds alternate between the arms and the median
counts. Tokens are those of the examples: padding is no work done. "Features known" is an epoch after the first
one, or a later stage over the same tower: the loop keeps what the tower saw, the Trainer looks again.
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
from pathlib import Path

import torch
from torch import nn

from looksay.data.dataset import Examples
from looksay.data.sources import scenes as talks
from looksay.models.batching import pad
from looksay.models.losses import full_loss, token_loss
from looksay.training.loop import train
from looksay.training.recipes import llava
from looksay.training.stages import Stage

BATCH = 16
MIX = {"everything": 0.4, "description": 0.3, "choice": 0.3}


class Padded(nn.Module):
    """The model as the Trainer wants it: rows of one example each, loss over full logits."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def train(self, mode=True):
        super().train(mode)
        self.model.tower.eval()  # it is frozen, and its running statistics with it
        return self

    def forward(self, batch):
        weight_VD, bias_V = self.model.language.head
        hidden_BTD = self.model.hidden(batch)
        return {
            "loss": full_loss(hidden_BTD, weight_VD, batch.labels_BT, batch.segments_BT, bias_V)
        }


class Encoded:
    """Sequences that are encoded already; grouping sorts by the length of `input_ids`."""

    def __init__(self, sequences):
        self._sequences = sequences

    def __len__(self):
        return len(self._sequences)

    def __getitem__(self, place):
        sequence = self._sequences[place]
        return {"sequence": sequence, "input_ids": sequence.ids}


def by_trainer(model, sequences, grouped):
    from transformers import Trainer, TrainingArguments

    class Unwrapped(Trainer):
        def _prepare_inputs(self, inputs):
            return inputs

    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder,
            per_device_train_batch_size=BATCH,
            num_train_epochs=1,
            learning_rate=1e-4,
            use_cpu=True,
            report_to=[],
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
            remove_unused_columns=False,
            dataloader_pin_memory=False,
            train_sampling_strategy="group_by_length" if grouped else "random",
        )
        trainer = Unwrapped(
            Padded(model),
            arguments,
            train_dataset=Encoded(sequences),
            data_collator=lambda items: {"batch": pad([item["sequence"] for item in items])},
        )
        began = time.perf_counter()
        trainer.train()
        return sum(len(s.ids) for s in sequences) / (time.perf_counter() - began)


def by_loop(model, sequences, examples, features=None):
    known = {example.id: sequence for example, sequence in zip(examples, sequences, strict=True)}
    model.encode = lambda example, template, objectives: known[example.id]
    budget = BATCH * max(len(s.ids) for s in sequences)
    steps = max(1, round(sum(len(s.ids) for s in sequences) / budget))
    rates = {"connector": 1e-4, "language": 1e-4}
    stage = Stage(
        "s",
        rates,
        Examples(examples),
        steps,
        tokens_per_batch=budget,
        max_length=1024,
        cache_features=features is not None,
    )
    with tempfile.TemporaryDirectory() as folder:
        options = {"device": "cpu", "quiet": True, "log_every": 10**6}
        train(model, [stage], folder, features=features, **options)
        lines = (Path(folder) / "log.jsonl").read_text("utf-8").splitlines()
        return json.loads(lines[-1])["tokens_per_s"]


def speed(count, rounds, size):
    model, _ = llava.scenes(size)
    source = talks.read(3, mix=MIX)
    examples = [source.example(i) for i in range(count)]
    sequences = [model.encode(example) for example in examples]
    lengths = sorted(len(s.ids) for s in sequences)
    print(f"{count} examples of {lengths[0]} to {lengths[-1]} ids, median {lengths[count // 2]}")
    batches = [[len(s.ids) for s in sequences[at : at + BATCH]] for at in range(0, count, BATCH)]
    padded = 1 - sum(lengths) / sum(BATCH * max(batch) for batch in batches)
    print(
        f"Of plain batches of {BATCH}, {padded:.0%} is padding: leaving it out is {1 / (1 - padded):.2f} times"
    )
    with tempfile.TemporaryDirectory() as kept:
        _compare(model, examples, sequences, rounds, Path(kept))


def _compare(model, examples, sequences, rounds, kept):
    arms = {
        "Trainer, padded": lambda model: by_trainer(model, sequences, False),
        "Trainer, group_by_length": lambda model: by_trainer(model, sequences, True),
        "looksay, packed": lambda model: by_loop(model, sequences, examples),
        "looksay, features known": lambda model: by_loop(model, sequences, examples, kept),
    }
    found = {name: [] for name in arms}
    for number in range(rounds + 1):
        for name, arm in arms.items():
            fresh = copy.deepcopy(model)
            fresh.tower.requires_grad_(False).eval()
            rate = arm(fresh)
            if number:  # the first round warms up
                found[name].append(rate)
    medians = {name: statistics.median(rates) for name, rates in found.items()}
    packed, known = (medians[name] for name in arms if name.startswith("looksay"))
    for name, rate in medians.items():
        print(
            f"{name}: {rate:,.0f} tokens/s; looksay is {packed / rate:.2f} times as fast, with features known "
            f"{known / rate:.2f} times"
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
    print(f"chunked takes {found['chunked'] / found['full']:.2f} of full logits")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--examples", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", default="mini")
    parser.add_argument("--peak", choices=["full", "chunked"])
    asked = parser.parse_args()
    if asked.peak:
        peak(asked.peak)
    else:
        memory()
        speed(asked.examples, asked.rounds, asked.size)
