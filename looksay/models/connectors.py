"""Connectors: features of a vision tower in, embeddings of a language model out.

Shapes: I images, N tokens per image from the tower, M after the connector, D width, Q learned queries.
"""

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from looksay.errors import InputError, UnknownName
from looksay.models.fusion import Attention


class Connector(Protocol):
    """What a model asks of its connector; an `nn.Module` besides, which keeps its arguments as attributes."""

    width_in: int
    width_out: int

    def tokens(self, n_in: int) -> int:
        """How many embeddings come out for `n_in` features of an image."""

    def __call__(self, features_IND: Tensor) -> Tensor: ...


class Linear(nn.Module):
    """One matrix (LLaVA v1, section 4.1)."""

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


class Joined(nn.Module):
    """`each` neighbouring tokens beside each other, then one matrix (MiniGPT-4 without its Q-Former: four patches)."""

    def __init__(self, width_in: int, width_out: int, each: int = 4) -> None:
        super().__init__()
        self.width_in, self.width_out, self.each = width_in, width_out, each
        self.linear = nn.Linear(width_in * each, width_out)

    def tokens(self, n_in: int) -> int:
        if n_in % self.each:
            raise InputError(
                f"{n_in} tokens of a picture do not divide into groups of {self.each}. Drop the class token "
                "(drop_cls=True), or choose another number of neighbours."
            )
        return n_in // self.each

    def forward(self, features_IND: Tensor) -> Tensor:
        images, tokens, _ = features_IND.shape
        joined_IMD = features_IND.reshape(images, self.tokens(tokens), -1)
        return self.linear(joined_IMD.to(self.linear.weight.dtype))


class SquaredReLU(nn.Module):
    """max(0, x)² (Primer, arXiv 2109.08668), which Flamingo has in its feed-forwards."""

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x).square()


def feed_forward(width: int, activation: str = "gelu", times: int = 4) -> nn.Sequential:
    """Flamingo's: a norm before, `times` the width within, no biases. `activation`: gelu or relu2.

    Raises UnknownName for another activation.
    """
    known = {"gelu": nn.GELU, "relu2": SquaredReLU}
    if activation not in known:
        raise UnknownName("activation", activation, known)
    return nn.Sequential(
        nn.LayerNorm(width),
        nn.Linear(width, times * width, bias=False),
        known[activation](),
        nn.Linear(times * width, width, bias=False),
    )


class ResamplerLayer(nn.Module):
    """Latents attend to the image and to themselves, then a feed-forward of `times` the width."""

    def __init__(self, width: int, heads: int, inner: int, activation: str, times: int = 4) -> None:
        super().__init__()
        self.norm_image, self.norm_latents = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, width, heads, bias=False, inner=inner)
        self.feed = feed_forward(width, activation, times)

    def forward(
        self, latents_IQD: Tensor, features_IND: Tensor, seen_IN: Tensor | None = None
    ) -> Tensor:
        """`seen_IN`: which features are there (None: all)."""
        latents = self.norm_latents(latents_IQD)
        # Keys and values are the image and the latents together (Flamingo, appendix A.1.1).
        context = torch.cat([self.norm_image(features_IND), latents], dim=1)
        mask = None
        if seen_IN is not None:
            mask = F.pad(seen_IN, (0, latents.shape[1]), value=True)[:, None, None]
        x = latents_IQD + self.attention(latents, context, mask)
        fed: Tensor = x + self.feed(x)
        return fed


class Resampler(nn.Module):
    """Flamingo's perceiver resampler (section 3.1.1): any number of features becomes `latents` embeddings.

    It works in `width` (None: that of the features), with heads of `head_width` (None: `width` between
    them). `frames` is how many pictures of a clip are told apart, by learned embeddings of time; 0: none,
    there are only pictures. Without `projects` no matrix follows, and what comes out is `width` wide.
    """

    def __init__(
        self,
        width_in: int,
        width_out: int,
        latents: int = 64,
        layers: int = 6,
        heads: int = 8,
        width: int | None = None,
        head_width: int | None = None,
        frames: int = 0,
        activation: str = "gelu",
        projects: bool = True,
    ) -> None:
        super().__init__()
        self.width_in, self.width_out, self.latents = width_in, width_out, latents
        self.layers, self.heads, self.width, self.head_width = layers, heads, width, head_width
        self.frames, self.activation, self.projects = frames, activation, projects
        own = width or width_in
        if not projects and width_out != own:
            raise InputError(
                f"A resampler of width {own} without a matrix behind it gives vectors of {own}, not "
                f"{width_out}. Build it as width_out={own}, or with projects=True."
            )
        self.enter = nn.Linear(width_in, own) if width else nn.Identity()
        self.start = nn.Parameter(torch.randn(latents, own) * 0.02)
        self.times_FD = nn.Parameter(torch.randn(frames, own) * 0.02) if frames else None
        inner = own if head_width is None else heads * head_width
        self.blocks = nn.ModuleList(
            ResamplerLayer(own, heads, inner, activation) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(own)
        self.project = nn.Linear(own, width_out) if projects else nn.Identity()

    def tokens(self, n_in: int) -> int:
        return self.latents

    def forward(self, features_IND: Tensor, frames_V: Tensor | None = None) -> Tensor:
        """VMD for V clips; `frames_V` says of how many of the I pictures, in order, each is made (None: of
        one). Raises InputError where these do not add up."""
        features_IND = self.enter(features_IND.to(self.start.dtype))
        if frames_V is None:
            return self._read(features_IND[:, None])
        if int(frames_V.sum()) != len(features_IND):
            raise InputError(
                f"The clips take {int(frames_V.sum())} pictures, but there are {len(features_IND)}."
            )
        first_V = frames_V.cumsum(0) - frames_V
        found, order = [], []
        # Clips of one length together: no frame has to be hidden.
        for count in frames_V.unique():
            which = (frames_V == count).nonzero()[:, 0]
            places = first_V[which, None] + torch.arange(int(count), device=which.device)
            found.append(self._read(features_IND[places]))
            order.append(which)
        return torch.cat(found)[torch.cat(order).argsort()]

    def _read(self, features_VFND: Tensor) -> Tensor:
        features_VFND = features_VFND + self._times(features_VFND.shape[1])[:, None]
        features_VND = features_VFND.flatten(1, 2)
        x = self.start.expand(len(features_VND), -1, -1)
        for block in self.blocks:
            x = block(x, features_VND)
        embeds: Tensor = self.project(self.norm(x))
        return embeds

    def _times(self, frames: int) -> Tensor:
        """FD; clips longer than those in training get times in between (section 3.1.1)."""
        if self.times_FD is None:
            return self.start.new_zeros(1, self.start.shape[1])
        if frames <= len(self.times_FD):
            return self.times_FD[:frames]
        stretched = F.interpolate(
            self.times_FD.T[None], size=frames, mode="linear", align_corners=True
        )
        times_FD: Tensor = stretched[0].T
        return times_FD
