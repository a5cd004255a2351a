"""Pictures per second of training, family by family, and what not doing things twice is worth.

    python benchmarks/objectives.py [--steps 4] [--rounds 3] [--size mini] [--families clip,albef]

Every arm makes whole steps (forward, backward, optimiser) of the same stage on the same batches; arms take turns within
a round, and the median round counts. Tower and language model are new: what they know costs no time. Arms:

known   the resting tower's features are there from an earlier round, as they are after the first 12,288 pictures;
once    the tower sees each picture of the batch once, whatever the objectives;
twice   the tower sees each once more without a graph: as the momentum tower does in the published code of ALBEF and
        BLIP, rested or not, and as a matching loss does that encodes its negatives anew;
graph   the same with a graph, which nothing needs.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import replace

import torch
from measured import tell

from looksay import plugins
from looksay.training.feed import Feed
from looksay.training.optim import optimizer, set_rates, thaw

FAMILIES = ("clip", "albef", "blip", "blip2", "flamingo", "simvlm", "pali")
STAGES = {
    "clip": "pairs",
    "albef": "pretrain",
    "blip": "pretrain",
    "blip2": "represent",
    "flamingo": "flamingo",
    "simvlm": "prefix",
    "pali": "main",
}
MATCHING = ("albef", "blip", "blip2")


def arms(name):
    return ("known", "once", *(("twice", "graph") if name in MATCHING else ()))


def looked(model, batch, arm):
    """The batch, with the features that the arm has made of it; a second look is thrown away."""
    if arm == "once":
        return batch
    with torch.no_grad():
        features = model.tower(batch.pixels_ICHW)
    model.tower.requires_grad_(arm == "graph")
    with torch.set_grad_enabled(arm == "graph"):
        model.tower(batch.pixels_ICHW)
    model.tower.requires_grad_(False)
    return replace(batch, features_IND=features)


def measured(name, size, steps, rounds):
    recipe = plugins.load("looksay.training.recipes", name, "recipe")
    model, stages = recipe.scenes(size, 0)
    stage = next(one for one in stages if one.name == STAGES[name])
    stage = replace(stage, steps=10**6)
    learning = thaw(model.parts, stage)
    steps_of = optimizer(model.parts, learning, stage)
    image_id = getattr(getattr(model, "prompter", None), "image_id", None)
    encode = lambda example: model.encode(  # noqa: E731
        example, template=stage.template, objectives=stage.objectives
    )
    pad_id = int(model.tokenizer.pad_token_id or 0)
    with Feed(stage, encode, pad_id=pad_id, image_id=image_id) as feed:
        batches = [feds[0].batch for (feds, _), _ in zip(feed, range(steps), strict=False)]
    pictures = sum(len(batch.pixels_ICHW) for batch in batches)
    with torch.no_grad():
        known = [replace(b, features_IND=model.tower(b.pixels_ICHW)) for b in batches]
    times = {arm: [] for arm in arms(name)}
    for number in range(rounds + 1):
        for arm in times:
            began = time.process_time()
            for step in range(steps):
                batch = known[step] if arm == "known" else looked(model, batches[step], arm)
                losses = model(batch, stage.objectives)
                sum(loss for loss in losses.values() if loss.requires_grad).backward()
                set_rates(steps_of, stage, step)
                steps_of.step()
                steps_of.zero_grad(set_to_none=True)
            if number:  # the first round warms up
                times[arm].append(time.process_time() - began)
    return {arm: [pictures / one for one in found] for arm, found in times.items()}


def main(args):
    torch.manual_seed(0)
    threads = torch.get_num_threads()
    print(f"Pictures per second of CPU time, size {args.size}, {threads} threads")
    for name in args.families.split(","):
        found = measured(name, args.size, args.steps, args.rounds)
        told = [f"{arm} {statistics.median(rates):.1f}" for arm, rates in found.items()]
        print(f"{name} ({STAGES[name]}): {', '.join(told)}", flush=True)
        for arm, rates in found.items():
            if arm != "once":
                ratios = [one / other for one, other in zip(found["once"], rates, strict=True)]
                tell(f"training {name}/{STAGES[name]}, tower once beside {arm}", ratios)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--families", default=",".join(FAMILIES))
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", default="mini")
    main(parser.parse_args())
