"""Vision towers: pictures in, a row of features per image out.

Shapes: I images, C channels, H × W pixels, N tokens per image, D width of a token.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal, Protocol, cast

import numpy as np
import torch
from PIL import Image as Pillow
from torch import Tensor, nn

from looksay.errors import InputError
from looksay.images import open_image, upright_rgb
from looksay.models.configs import config_from_json, config_to_json
from looksay.models.fingerprint import fingerprint
from looksay.types import Image

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
Fit = Literal["pad", "crop", "stretch"]


class Tower(Protocol):
    """What a model asks of its vision tower; an `nn.Module` besides."""

    tokens: int
    """Features per image."""
    width: int
    """Width of a feature."""
    size_px: int
    """Side of the square picture that goes in."""

    @property
    def fingerprint(self) -> str: ...

    def prepare(self, image: Pillow.Image) -> Tensor:
        """The picture as CHW float32."""

    def __call__(self, pixels_ICHW: Tensor) -> Tensor: ...


class TransformersTower(nn.Module):
    """Any vision transformer of transformers (CLIP, SigLIP, ViT), read at one of its layers.

    `layer` counts as `hidden_states` does: -1 is the last block's output before the final norm, -2 the
    one before (LLaVA, section 4.1); None is the model's own output. `fit` makes pictures square: "pad"
    with the mean colour (LLaVA-1.5), "crop" the middle (CLIP), or "stretch" (SigLIP).
    """

    def __init__(
        self,
        model: nn.Module,
        layer: int | None = -2,
        drop_cls: bool = True,
        fit: Fit = "pad",
        mean_rgb: tuple[float, ...] = CLIP_MEAN,
        std_rgb: tuple[float, ...] = CLIP_STD,
    ) -> None:
        super().__init__()
        self.model: Any = model
        self.layer, self.drop_cls, self.fit = layer, drop_cls, fit
        self.mean_rgb, self.std_rgb = tuple(mean_rgb), tuple(std_rgb)
        config = self.model.config
        self.size_px, self.width = int(config.image_size), int(config.hidden_size)
        self.leading = _leading_tokens(model)
        patches = (self.size_px // int(config.patch_size)) ** 2
        self.tokens = patches + self.leading - self.dropped

    @property
    def dropped(self) -> int:
        """How many of the tokens before the patches (class, registers) are left out."""
        return self.leading if self.drop_cls else 0

    def prepare(self, image: Pillow.Image) -> Tensor:
        """The picture as CHW float32: made square, resized (bicubic), normalised per channel."""
        square = make_square(image, self.size_px, self.fit, self.mean_rgb)
        values_HWC = np.asarray(square, dtype=np.float32) / 255
        mean, std = np.array(self.mean_rgb, np.float32), np.array(self.std_rgb, np.float32)
        values_HWC = (values_HWC - mean) / std
        return torch.from_numpy(values_HWC.transpose(2, 0, 1).copy())

    def forward(self, pixels_ICHW: Tensor) -> Tensor:
        """Features IND. Raises InputError where the model gives another number of them than promised."""
        # A list asks for this one layer; releases that know no list take it as "all of them".
        wanted = None if self.layer is None else [self.layer]
        output = self.model(
            pixels_ICHW.to(next(self.model.parameters()).dtype), output_hidden_states=wanted
        )
        features_IND = (
            output.last_hidden_state if self.layer is None else output.hidden_states[self.layer]
        )
        features_IND = features_IND[:, self.dropped :]
        if features_IND.shape[1] != self.tokens:
            raise InputError(
                f"The vision tower gave {features_IND.shape[1]} features per image; "
                f"{self.tokens} were expected from its settings ({self.size_px} px). "
                f"Pictures must be {self.size_px} × {self.size_px} px."
            )
        return cast(Tensor, features_IND)

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.model)

    @property
    def arguments(self) -> dict[str, Any]:
        """What rebuilds this tower without its weights (JSON)."""
        return {
            "config": config_to_json(self.model.config),
            "layer": self.layer,
            "drop_cls": self.drop_cls,
            "fit": self.fit,
            "mean_rgb": list(self.mean_rgb),
            "std_rgb": list(self.std_rgb),
        }

    @classmethod
    def from_arguments(cls, config: dict[str, Any], **arguments: Any) -> TransformersTower:
        return cls(new_model(config_from_json(config)), **arguments)

    @classmethod
    def from_folder(cls, folder: Path | str, **arguments: Any) -> TransformersTower:
        """A released tower (folder or name on the hub); CLIP and SigLIP checkpoints give their vision half.

        Mean and deviation come from its preprocessor_config.json unless given.
        """
        from transformers import AutoConfig, AutoModel
        from transformers.utils import cached_file

        config = AutoConfig.from_pretrained(folder)
        config = getattr(config, "vision_config", config)
        model = AutoModel.from_pretrained(folder, config=config)
        settings = cached_file(
            str(folder), "preprocessor_config.json", _raise_exceptions_for_missing_entries=False
        )
        if settings is not None:
            found = json.loads(Path(settings).read_text("utf-8"))
            arguments = {
                "mean_rgb": tuple(found.get("image_mean", CLIP_MEAN)),
                "std_rgb": tuple(found.get("image_std", CLIP_STD)),
            } | arguments
        return cls(model, **arguments)


def new_model(config: Any) -> Any:
    """transformers' model of a configuration, with new weights. Towers that exist only inside a larger model
    (BLIP's, BLIP-2's) are known to no Auto class; they are named as their configuration is."""
    import transformers

    try:
        return transformers.AutoModel.from_config(config)
    except ValueError:
        kind = getattr(transformers, f"{type(config).__name__.removesuffix('Config')}Model", None)
        if kind is None:
            raise
        return kind(config)


def pixels_of(image: Image, tower: Any) -> Tensor:
    """An image as a tower wants it: CHW float32."""
    source = image.source
    if isinstance(source, Pillow.Image):
        found: Tensor = tower.prepare(source)
    else:
        with open_image(source) as opened:
            found = tower.prepare(upright_rgb(opened, seen_px=tower.size_px))
    return found


def recogniser(tower: Any) -> Any:
    """The tower, where it learns by itself what is in a picture. Raises InputError where it does not."""
    if not hasattr(tower, "losses"):
        raise InputError(
            f"The tower {type(tower).__name__} has no objective 'recognise'; train it with SmallTower, or leave "
            "the objective out."
        )
    return tower


def make_square(
    image: Pillow.Image, size_px: int, fit: Fit, mean_rgb: tuple[float, ...]
) -> Pillow.Image:
    """An RGB picture of `size_px` × `size_px`."""
    image = image.convert("RGB")
    width_px, height_px = image.size
    if fit == "pad" and width_px != height_px:
        side_px = max(width_px, height_px)
        red, green, blue = (int(value * 255) for value in mean_rgb)
        padded = Pillow.new("RGB", (side_px, side_px), (red, green, blue))
        padded.paste(image, ((side_px - width_px) // 2, (side_px - height_px) // 2))
        image = padded
    elif fit == "crop":
        # The shorter side becomes size_px, then the middle is cut out, as CLIP's own preprocessing does.
        shorter_px = min(width_px, height_px)
        resized = (size_px * width_px // shorter_px, size_px * height_px // shorter_px)
        image = image.resize(resized, Pillow.Resampling.BICUBIC)
        left, top = (resized[0] - size_px) // 2, (resized[1] - size_px) // 2
        return image.crop((left, top, left + size_px, top + size_px))
    if image.size == (size_px, size_px):
        return image
    return image.resize((size_px, size_px), Pillow.Resampling.BICUBIC)


def _leading_tokens(model: nn.Module) -> int:
    """How many tokens (class, registers) stand before the patches: the model's own parameters say."""
    count = 0
    for name, weight in model.named_parameters():
        last = name.rsplit(".", 1)[-1]
        if last in {"class_embedding", "cls_token"}:
            count += 1
        elif last in {"register_tokens", "distillation_token"}:
            count += weight.shape[-2]
    return count
