"""Connectors: features of a vision tower in, embeddings of a language model out.

Shapes: I images, N tokens per image from the tower, M after the connector, D width, Q learned queries.
"""

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from looksay.models.fusion import Attention


class Connector(Protocol):
    """What a model asks of its connector; an `nn.Module` besides, which keeps its arguments as attributes."""

    width_in: int
    width_out: int

    def tokens(self, n_in: int) -> int:
        """How many embeddings come out for `n_in` features of an image."""

    def __call__(self, features_IND: Tensor) -> Tensor: ...


class Linear(nn.Module):
    """One matrix (LLaVA v1, section 4.1; BLIP-2 and MiniGPT-4 behind a Q-Former)."""

    def __init__(self, width_in: int, width_out: int) -> None:
        super().__init__()
        self.width_in, self.width_out = width_in, width_out
        self.linear = nn.Linear(width_in, width_out)

    def tokens(self, n_in: int) -> int:
        return n_in

    def forward(self, features_IND: Tensor) -> Tensor:
        return self.linear(features_IND.to(self.linear.weight.dtype))


class MLP(nn.Module):
    """`depth` linear layers with exact GELU between them (LLaVA-1.5's mlp2x_gelu at depth 2).

    The last `place` features say where a token is (those of our small tower do), and go straight through
    one matrix besides: layers that learn what a thing is called drop where it lies.
    """

    def __init__(
        self, width_in: int, width_out: int, depth: int = 2, bias: bool = True, place: int = 0
    ) -> None:
        super().__init__()
        self.width_in, self.width_out, self.depth, self.bias = width_in, width_out, depth, bias
        self.place = place
        layers: list[nn.Module] = [nn.Linear(width_in, width_out, bias=bias)]
        for _ in range(depth - 1):
            layers += [nn.GELU(), nn.Linear(width_out, width_out, bias=bias)]
        self.layers = nn.Sequential(*layers)
        self.straight = nn.Linear(place, width_out, bias=False) if place else None
        if self.straight is not None:
            nn.init.normal_(self.straight.weight, std=0.01)  # half as long as a word

    def tokens(self, n_in: int) -> int:
        return n_in

    def forward(self, features_IND: Tensor) -> Tensor:
        embeds = self.what(features_IND)
        if self.straight is not None:
            embeds = embeds + self.straight(features_IND[..., -self.place :].to(embeds.dtype))
        return embeds

    def what(self, features_IND: Tensor) -> Tensor:
        """The embeddings without the straight way: what is there, wherever it is."""
        embeds: Tensor = self.layers(features_IND.to(self.layers[0].weight.dtype))
        return embeds


class QFormerLayer(nn.Module):
    """A BERT block with norms behind each part; every `cross`-th looks at the image as well."""

    def __init__(self, width: int, width_in: int, heads: int, inner: int, cross: bool) -> None:
        super().__init__()
        self.attention = Attention(width, width, heads)
        self.attention_norm = nn.LayerNorm(width, eps=1e-12)
        self.cross = Attention(width, width_in, heads) if cross else None
        self.cross_norm = nn.LayerNorm(width, eps=1e-12) if cross else None
        self.up, self.down = nn.Linear(width, inner), nn.Linear(inner, width)
        self.norm = nn.LayerNorm(width, eps=1e-12)

    def forward(self, queries_IQD: Tensor, features_IND: Tensor) -> Tensor:
        x = queries_IQD
        x = self.attention_norm(x + self.attention(x, x))
        if self.cross is not None and self.cross_norm is not None:
            x = self.cross_norm(x + self.cross(x, features_IND))
        normed: Tensor = self.norm(x + self.down(F.gelu(self.up(x))))
        return normed


class QFormer(nn.Module):
    """Learned queries that read the image through cross-attention, then a matrix to the language model.

    The query path of BLIP-2 (section 3.1; 12 layers of width 768, 32 queries, cross-attention in every
    second layer); `qformer_keys` maps the released weights. Without its stage 1 it starts blind.
    """

    def __init__(
        self,
        width_in: int,
        width_out: int,
        queries: int = 32,
        width: int = 768,
        layers: int = 12,
        heads: int = 12,
        inner: int = 3072,
        cross_every: int = 2,
    ) -> None:
        super().__init__()
        self.width_in, self.width_out, self.queries, self.width = (
            width_in,
            width_out,
            queries,
            width,
        )
        self.layers, self.heads, self.inner, self.cross_every = layers, heads, inner, cross_every
        self.query_tokens = nn.Parameter(torch.randn(1, queries, width) * 0.02)
        self.norm = nn.LayerNorm(width, eps=1e-12)
        self.blocks = nn.ModuleList(
            QFormerLayer(width, width_in, heads, inner, cross=number % cross_every == 0)
            for number in range(layers)
        )
        self.project = nn.Linear(width, width_out)

    def tokens(self, n_in: int) -> int:
        return self.queries

    def read(self, features_IND: Tensor) -> Tensor:
        """What the queries found, before the projection: IQD."""
        features_IND = features_IND.to(self.query_tokens.dtype)
        x = self.norm(self.query_tokens).expand(features_IND.shape[0], -1, -1)
        for block in self.blocks:
            x = block(x, features_IND)
        return x

    def forward(self, features_IND: Tensor) -> Tensor:
        embeds: Tensor = self.project(self.read(features_IND))
        return embeds


def qformer_keys(layers: int, cross_every: int = 2) -> dict[str, str]:
    """Names of `Blip2QFormerModel`'s weights (query path) to names of `QFormer`'s."""
    names = {"layernorm": "norm"}
    for number in range(layers):
        theirs, ours = f"encoder.layer.{number}", f"blocks.{number}"
        attentions = {"attention": "attention"}
        if number % cross_every == 0:
            attentions["crossattention"] = "cross"
        for old, new in attentions.items():
            for part in ("query", "key", "value"):
                names[f"{theirs}.{old}.attention.{part}"] = f"{ours}.{new}.{part}"
            names[f"{theirs}.{old}.output.dense"] = f"{ours}.{new}.out"
            names[f"{theirs}.{old}.output.LayerNorm"] = f"{ours}.{new}_norm"
        names[f"{theirs}.intermediate_query.dense"] = f"{ours}.up"
        names[f"{theirs}.output_query.dense"] = f"{ours}.down"
        names[f"{theirs}.output_query.LayerNorm"] = f"{ours}.norm"
    return {f"{a}.{end}": f"{b}.{end}" for a, b in names.items() for end in ("weight", "bias")}


class ResamplerLayer(nn.Module):
    """Latents attend to the image and to themselves, then a feed-forward of four times the width."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm_image, self.norm_latents = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, width, heads, bias=False)
        self.feed = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, 4 * width, bias=False),
            nn.GELU(),
            nn.Linear(4 * width, width, bias=False),
        )

    def forward(self, latents_IQD: Tensor, features_IND: Tensor) -> Tensor:
        latents = self.norm_latents(latents_IQD)
        # Keys and values are the image and the latents together (Flamingo, appendix A.1.1).
        context = torch.cat([self.norm_image(features_IND), latents], dim=1)
        x = latents_IQD + self.attention(latents, context)
        fed: Tensor = x + self.feed(x)
        return fed


class Resampler(nn.Module):
    """Flamingo's perceiver resampler (section 3.1.1): any number of features becomes `latents` embeddings."""

    def __init__(
        self, width_in: int, width_out: int, latents: int = 64, layers: int = 6, heads: int = 8
    ) -> None:
        super().__init__()
        self.width_in, self.width_out, self.latents = width_in, width_out, latents
        self.layers, self.heads = layers, heads
        self.start = nn.Parameter(torch.randn(latents, width_in) * 0.02)
        self.blocks = nn.ModuleList(ResamplerLayer(width_in, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width_in)
        self.project = nn.Linear(width_in, width_out)

    def tokens(self, n_in: int) -> int:
        return self.latents

    def forward(self, features_IND: Tensor) -> Tensor:
        features_IND = features_IND.to(self.start.dtype)
        x = self.start.expand(features_IND.shape[0], -1, -1)
        for block in self.blocks:
            x = block(x, features_IND)
        embeds: Tensor = self.project(self.norm(x))
        return embeds
