"""A small convolutional tower that learns from a scene's truth: a stand-in for a pre-trained one.

Published systems begin with a tower that was trained on hundreds of millions of pairs (CLIP, SigLIP).
A laptop has no such thing to begin with, so this one learns from the labels of scenes: what lies where,
which letter stands where, which background. That is stronger supervision than a web tower gets, and
what is trained on it says so. It gives one vector per 2 × 2 cells of 8 px with its place appended,
because a language model cannot count, compare or read from features that only tell presence.

Shapes: I images, C channels, H × W px, R × R cells (8 px), N = (R / 2)² tokens, D width.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from looksay.errors import InputError
from looksay.models.fingerprint import fingerprint
from looksay.types import Example

CELL_PX = 8
PLACE_WIDTH = 32


class Block(nn.Module):
    """Two 3 × 3 convolutions with a way past them; dilation widens what a cell sees."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.convs = nn.Sequential(
            *_conv(width, width, dilation=dilation), *_conv(width, width, dilation=dilation)[:-1]
        )

    def forward(self, x_ICHW: Tensor) -> Tensor:
        return F.relu(x_ICHW + self.convs(x_ICHW))


class SmallTower(nn.Module):
    """See the module. `channels` is the width of a cell; a token is four cells and their place."""

    def __init__(
        self,
        *,
        size_px: int = 128,
        channels: int = 128,
        blocks: tuple[int, ...] = (1, 1, 2, 4),
        classes: Mapping[str, int],
    ) -> None:
        super().__init__()
        if size_px % (2 * CELL_PX):
            raise InputError(
                f"The side of the small tower's pictures is a multiple of 16 px, not {size_px}."
            )
        self.size_px, self.classes = size_px, dict(classes)
        self.arguments = {
            "size_px": size_px,
            "channels": channels,
            "blocks": list(blocks),
            "classes": dict(classes),
        }
        self.cells = size_px // CELL_PX
        self.tokens, self.width = (self.cells // 2) ** 2, 4 * channels + PLACE_WIDTH
        self.stem = nn.Sequential(
            # One wide step first: fewer than 64 channels are slow in bf16 on a CPU, whatever their number.
            *_conv(3, channels // 2, size=8, stride=4),
            Block(channels // 2, 1),
            *_conv(channels // 2, channels, stride=2),
        )
        self.blocks = nn.Sequential(*[Block(channels, dilation) for dilation in blocks])
        # Centred and scaled by the whole of the world, so that what differs from empty ground stands out:
        # the features of all cells share a large mean otherwise, and a connector must first learn that away.
        self.norm = nn.BatchNorm2d(channels, affine=False)
        outputs = {
            "noun": classes["noun"] + 1,
            "box": 4,
            "letter": classes["letter"] + 1,
            "order": classes["order"],
            "board": classes["board"],
            "colour": classes["colour"],
            "pattern": classes["pattern"],
        }
        self.heads = nn.ModuleDict(
            {name: nn.Conv2d(channels, count, 1) for name, count in outputs.items()}
        )
        # Nearly all cells are empty: to begin with that belief (Lin et al., arXiv 1708.02002, section 4.1)
        # saves the thousands of steps in which a bias would learn nothing else.
        for name in ("noun", "letter"):
            nn.init.constant_(self.heads[name].bias, 0.0)
            self.heads[name].bias.data[-1] = math.log(99 * classes[name])
        self.register_buffer("place_ND", _places(self.cells // 2), persistent=False)
        self.to(memory_format=torch.channels_last)

    @property
    def fingerprint(self) -> str:
        return fingerprint(self)

    def prepare(self, image: Image.Image) -> Tensor:
        """A picture as float CHW from -1 to 1, resized to `size_px` (scenes have that size already)."""
        if image.size != (self.size_px, self.size_px):
            image = image.resize((self.size_px, self.size_px), Image.Resampling.BICUBIC)
        pixels_HWC = torch.from_numpy(np.asarray(image.convert("RGB"), np.float32) / 127.5 - 1)
        return pixels_HWC.permute(2, 0, 1)

    def cells_of(self, pixels_ICHW: Tensor) -> Tensor:
        """(I, channels, R, R): one vector per cell."""
        pixels_ICHW = pixels_ICHW.to(next(self.parameters()).dtype)
        pixels_ICHW = pixels_ICHW.contiguous(memory_format=torch.channels_last)
        return self.norm(self.blocks(self.stem(pixels_ICHW)))

    def forward(self, pixels_ICHW: Tensor) -> Tensor:
        """(I, N, D): four neighbouring cells joined, and where they are."""
        joined_ICHW = F.pixel_unshuffle(self.cells_of(pixels_ICHW), 2)
        tokens_IND = joined_ICHW.flatten(2).transpose(1, 2)
        place_IND = self.place_ND.to(tokens_IND.dtype).expand(len(tokens_IND), -1, -1)
        return torch.cat([tokens_IND, place_IND], dim=-1)

    def targets(self, example: Example) -> dict[str, Tensor]:
        """What `losses` wants of one example: its truth on the grid (`looksay.data.scenes.grids`)."""
        if "grids" not in example.truth:
            raise InputError(
                f"Example {example.id} has no truth on a grid: the objective `recognise` learns from "
                "scenes only. Train on scenes, or start from a tower that is trained."
            )
        grids: Mapping[str, Any] = example.truth["grids"]
        return {name: torch.as_tensor(grid).unsqueeze(0) for name, grid in grids.items()}

    def losses(self, pixels_ICHW: Tensor, targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Losses by head. Those of nouns and letters are sums over all cells, per thing that is there:
        a mean over cells would drown the few that hold something."""
        cells = self.cells_of(pixels_ICHW)
        said = {name: head(cells).float() for name, head in self.heads.items()}
        here = targets["noun"] < self.classes["noun"]
        box_IRR4 = said["box"].permute(0, 2, 3, 1)
        whole = said["colour"].shape[-2:]
        return {
            "noun": _present_and_absent(said["noun"], targets["noun"], self.classes["noun"]),
            "box": 4 * F.smooth_l1_loss(box_IRR4[here], targets["box"][here], beta=0.1),
            "letter": _present_and_absent(
                said["letter"], targets["letter"], self.classes["letter"]
            ),
            "order": _cross_entropy(said["order"], targets["order"]),
            "board": _cross_entropy(said["board"], targets["board"]),
            **{
                name: 0.5 * F.cross_entropy(said[name], _everywhere(targets[name], whole))
                for name in ("colour", "pattern")
            },
        }


def _conv(
    inputs: int, outputs: int, *, size: int = 3, stride: int = 1, dilation: int = 1
) -> tuple[nn.Module, ...]:
    padding = (size - stride) // 2 if stride > 2 else dilation * (size // 2)
    conv = nn.Conv2d(
        inputs, outputs, size, stride=stride, padding=padding, dilation=dilation, bias=False
    )
    return conv, nn.BatchNorm2d(outputs), nn.ReLU()


def _cross_entropy(logits_ICRR: Tensor, labels_IRR: Tensor) -> Tensor:
    """Mean over the cells that have a label; 0 where none has."""
    total = F.cross_entropy(logits_ICRR, labels_IRR, reduction="sum")
    return total / (labels_IRR >= 0).sum().clamp(min=1)


def _present_and_absent(logits_ICRR: Tensor, labels_IRR: Tensor, nothing: int) -> Tensor:
    each_IRR = F.cross_entropy(logits_ICRR, labels_IRR, reduction="none")
    here = labels_IRR != nothing
    present = (each_IRR * here).sum() / here.sum().clamp(min=1)
    absent = (each_IRR * ~here).sum() / here.sum().clamp(min=1)
    return present + absent


def _everywhere(labels_I: Tensor, shape: torch.Size) -> Tensor:
    return labels_I.view(-1, 1, 1).expand(-1, *shape)


def _places(side: int) -> Tensor:
    """(side², PLACE_WIDTH): sines and cosines of column and row at four frequencies each, twice."""
    step = torch.arange(side).float() / side
    waves = torch.tensor([2.0**k * math.pi / 2 for k in range(PLACE_WIDTH // 4)])
    angles = step[:, None] * waves
    axis = torch.cat([angles.sin(), angles.cos()], dim=-1)
    rows, columns = axis[:, None].expand(-1, side, -1), axis[None].expand(side, -1, -1)
    return torch.cat([columns, rows], dim=-1).reshape(side * side, PLACE_WIDTH)
