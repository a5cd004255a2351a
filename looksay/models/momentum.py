"""What momentum contrast keeps beside a model: slow copies of its encoders, and a queue of what they saw.

Both live in buffers, so that they are saved with the model, restored with it and never trained.
Shapes: B rows, K places of the queue, D width.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from looksay.errors import InputError
from looksay.models import ranks
from looksay.models.contrastive import same, soft_cross_entropy, soft_targets


class Momentum(nn.Module):
    """Exponential moving averages of modules (MoCo, arXiv 1911.05722; ALBEF's momentum models, m = 0.995).

    A module is called by its name and runs with its averaged weights, without a graph and in evaluation mode:
    `momentum("tower", pixels_ICHW)`.
    """

    def __init__(self, modules: Mapping[str, nn.Module], decay: float = 0.995) -> None:
        super().__init__()
        self.decay = decay
        self._modules_of = (dict(modules),)  # a tuple keeps torch from taking them for its own
        self._names: dict[str, dict[str, str]] = {}
        for name, module in modules.items():
            self._names[name] = {}
            for key, value in module.named_parameters():
                buffer = f"{name}_{key}".replace(".", "_")
                self._names[name][key] = buffer
                self.register_buffer(buffer, value.detach().clone())
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def update(self) -> None:
        """One step towards the modules as they are; the first time they are taken over whole."""
        decay = self.decay if int(self.steps) else 0.0
        for name, module in self._modules_of[0].items():
            for key, value in module.named_parameters():
                slow = getattr(self, self._names[name][key])
                if (
                    slow.dtype != value.dtype
                ):  # what trains is held in fp32, whatever it was loaded in
                    slow = slow.to(value.dtype)
                    setattr(self, self._names[name][key], slow)
                slow.lerp_(value.detach(), 1 - decay)
        self.steps += 1

    @torch.no_grad()
    def forward(self, name: str, *inputs: Any, **options: Any) -> Any:
        module = self._modules_of[0][name]
        weights = {key: getattr(self, buffer) for key, buffer in self._names[name].items()}
        modes = [(part, part.training) for part in module.modules()]
        module.eval()
        try:
            return functional_call(module, weights, inputs, options)
        finally:
            for part, mode in modes:
                part.training = mode


class Queue(nn.Module):
    """The last `size` embeddings that went by, with the ids of their pictures; random ones to begin with."""

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.size, self.width = size, width
        generator = torch.Generator().manual_seed(0)
        start_KD = F.normalize(torch.randn(size, width, generator=generator), dim=1)
        self.register_buffer("features_KD", start_KD)
        self.register_buffer("ids_K", torch.full((size,), -1))
        self.register_buffer("place", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def push(self, features_BD: Tensor, ids_B: Tensor) -> None:
        """The rows of all processes, over the oldest. Raises InputError where they are more than the queue."""
        features, ids = ranks.gather(features_BD.detach()), ranks.gather(ids_B)
        if len(ids) > self.size:
            raise InputError(
                f"A batch of {len(ids)} does not fit into a queue of {self.size}. Make the queue a multiple of "
                "the batch."
            )
        places = (self.place + torch.arange(len(ids), device=ids.device)) % self.size
        self.features_KD[places] = features.to(self.features_KD.dtype)
        self.ids_K[places] = ids
        self.place.copy_((self.place + len(ids)) % self.size)


class Contrasted(NamedTuple):
    """The loss of momentum contrast, and its scores over the rows of all processes (for hard negatives)."""

    loss: Tensor
    to_texts_BG: Tensor
    to_images_BG: Tensor


class MomentumContrast(nn.Module):
    """Image–text contrast of ALBEF (arXiv 2107.07651, sections 3.2 and 3.3) and BLIP: each picture and text beside
    the momentum models' embeddings of this batch and of the queue, with soft targets.

    Candidates are the rows of all processes (the published code: of one's own), so that how a batch is split
    changes nothing. Pictures with equal ids belong together. The temperature begins at 0.07.
    """

    def __init__(self, width: int, queue: int) -> None:
        super().__init__()
        self.width, self.queue = width, queue
        self.temperature = nn.Parameter(torch.tensor(0.07))
        self.images, self.texts = Queue(queue, width), Queue(queue, width)

    def forward(
        self,
        images_BD: Tensor,
        texts_BD: Tensor,
        slow_images_BD: Tensor,
        slow_texts_BD: Tensor,
        ids_B: Tensor,
        alpha: float,
    ) -> Contrasted:
        """`slow_…`: of the momentum models. The queues take them in afterwards, while training."""
        with torch.no_grad():
            self.temperature.clamp_(0.001, 0.5)
            known_C = torch.cat([ranks.gather(ids_B), self.images.ids_K])
            positives_BC = same(ids_B, known_C)
            slow_images_GD, slow_texts_GD = (
                ranks.gather(slow_images_BD),
                ranks.gather(slow_texts_BD),
            )
            images_CD = torch.cat([slow_images_GD, self.images.features_KD])
            texts_CD = torch.cat([slow_texts_GD, self.texts.features_KD])
            slow = 1 / self.temperature
            to_texts_targets = soft_targets(slow * slow_images_BD @ texts_CD.T, positives_BC, alpha)
            to_images_targets = soft_targets(
                slow * slow_texts_BD @ images_CD.T, positives_BC, alpha
            )
        to_texts_BC = images_BD @ texts_CD.T / self.temperature
        to_images_BC = texts_BD @ images_CD.T / self.temperature
        loss = soft_cross_entropy(to_texts_BC, to_texts_targets)
        loss = (loss + soft_cross_entropy(to_images_BC, to_images_targets)) / 2
        if self.training:
            self.images.push(slow_images_BD, ids_B)
            self.texts.push(slow_texts_BD, ids_B)
        whole = len(slow_images_GD)
        return Contrasted(loss, to_texts_BC[:, :whole].detach(), to_images_BC[:, :whole].detach())


def ramp(steps: int, over: int, peak: float = 0.4) -> float:
    """Momentum distillation's weight: from 0 to `peak` over so many steps, then constant."""
    return peak * min(1.0, steps / over) if over else peak
