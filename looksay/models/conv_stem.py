"""The first stages of a ResNet as a tower: patches that a few convolutions have looked at (SimVLM, section 3.2).

Shapes: I images, C channels, H × W px, N = (H / 16)² patches, D width.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image as Pillow
from torch import Tensor, nn

from looksay.errors import InputError
from looksay.models.fingerprint import fingerprint
from looksay.models.vision import make_square

PATCH_PX = 16
"""A stem of stride 4 and three stages, of which two halve: the side of one patch."""
GROUPS = 32


class ConvStem(nn.Module):
    """transformers' ResNet up to its third stage, one feature per patch of 16 px.

    Its norms are GroupNorm (as in ViT's hybrids: Dosovitskiy et al., arXiv 2010.11929, section 3.1) and not the
    ResNet's BatchNorm: with statistics over a batch, a step would depend on how it is split over devices.
    """

    def __init__(
        self,
        size_px: int = 224,
        stem: int = 64,
        widths: tuple[int, ...] = (256, 512, 1024),
        depths: tuple[int, ...] = (3, 4, 23),
        layer: str = "bottleneck",
    ) -> None:
        super().__init__()
        from transformers import ResNetConfig, ResNetModel

        if size_px % PATCH_PX:
            raise InputError(
                f"Pictures of {size_px} px do not divide into patches of {PATCH_PX} px. Choose a multiple "
                f"of {PATCH_PX}."
            )
        if len(widths) != 3 or len(depths) != 3:
            raise InputError(
                f"The stem has the first three stages of a ResNet; found widths {tuple(widths)} and depths "
                f"{tuple(depths)}."
            )
        self.size_px, self.stem, self.layer = size_px, stem, layer
        self.widths, self.depths = tuple(widths), tuple(depths)
        self.arguments = {
            "size_px": size_px,
            "stem": stem,
            "widths": list(widths),
            "depths": list(depths),
            "layer": layer,
        }
        self.tokens, self.width = (size_px // PATCH_PX) ** 2, int(widths[-1])
        model = ResNetModel(
            ResNetConfig(
                embedding_size=stem,
                hidden_sizes=list(widths),
                depths=list(depths),
                layer_type=layer,
            )
        )
        self.embedder, self.stages = model.embedder, model.encoder
        _without_batch_norm(self)

    def prepare(self, image: Pillow.Image) -> Tensor:
        """The picture as CHW float32 from -1 to 1: the middle square, resized (bicubic)."""
        square = make_square(image, self.size_px, "crop", (0.5, 0.5, 0.5))
        pixels_HWC = torch.from_numpy(np.asarray(square, dtype=np.float32) / 127.5 - 1)
        return pixels_HWC.permute(2, 0, 1).contiguous()

    def forward(self, pixels_ICHW: Tensor) -> Tensor:
        """(I, N, D): patches row by row."""
        pixels_ICHW = pixels_ICHW.to(next(self.parameters()).dtype)
        found_ICHW: Tensor = self.stages(self.embedder(pixels_ICHW)).last_hidden_state
        return found_ICHW.flatten(2).transpose(1, 2)

    @property
    def fingerprint(self) -> str:
        return fingerprint(self)


def _without_batch_norm(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            channels = child.num_features
            groups: Any = next(g for g in range(min(GROUPS, channels), 0, -1) if channels % g == 0)
            setattr(module, name, nn.GroupNorm(groups, channels))
        else:
            _without_batch_norm(child)
