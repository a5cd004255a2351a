"""Language models of transformers behind one small face: embed, think, speak.

Shapes: B rows, T ids in a row, D width of a token, V words of the vocabulary.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from looksay.errors import InputError
from looksay.models import segments
from looksay.models.configs import config_from_json, config_to_json
from looksay.models.decoding import pick, seeded
from looksay.models.fingerprint import fingerprint, is_adapter
from looksay.models.slots import Slots, plain

_NOT_A_PLAIN_HEAD = ("final_logit_softcapping", "logits_scaling", "logit_scale")
_DENSE = frozenset({"sdpa", "eager", segments.SEGMENTS})
"""Attention implementations that take a mask of our own; the others find packing from the positions."""


class Language(nn.Module):
    """Any causal language model of transformers.

    `base` is the folder or hub name that the weights came from; a checkpoint with an adapter records it
    instead of the weights. `digest` fixes the fingerprint where the weights cannot be read any more
    (4 bit).
    """

    KIND = "AutoModelForCausalLM"
    """transformers' name for all models of the kind."""

    def __init__(
        self,
        model: nn.Module,
        attention: str | None = None,
        base: str | None = None,
        digest: str | None = None,
    ) -> None:
        super().__init__()
        self.model: Any = model
        self.base, self.digest = base, digest
        self._as_released = self.fingerprint if base is not None else None
        segments.register()
        if attention is not None:
            self.model.set_attn_implementation(attention)
        takes = inspect.signature(self.decoder.forward).parameters
        self._places_known = "position_ids" in takes
        # Its old name until transformers 5.23.
        self._cache_name = "cache" if "cache" in takes else "past_key_values"
        bent = [
            name
            for name in _NOT_A_PLAIN_HEAD
            if getattr(self.config, name, None) not in (None, 1, 1.0)
        ]
        if bent:
            raise InputError(
                f"This language model bends its logits ({', '.join(bent)}), which the chunked loss does "
                "not do. Choose one with a plain output layer (Llama, Qwen, Mistral, OPT, GPT-2, Phi)."
            )

    @property
    def config(self) -> Any:
        return self.model.config.get_text_config()

    @property
    def width(self) -> int:
        return int(self.model.get_input_embeddings().weight.shape[1])

    @property
    def attention(self) -> str:
        return str(self.model.config._attn_implementation)

    @property
    def head(self) -> tuple[Tensor, Tensor | None]:
        """Weight VD and bias V (or None) of the output layer."""
        layer = self.model.get_output_embeddings()
        return layer.weight, getattr(layer, "bias", None)

    @property
    def fingerprint(self) -> str:
        return self.digest or fingerprint(self.model)

    @property
    def borrowed(self) -> bool:
        """Whether a checkpoint may name `base` instead of holding the weights: an adapter lies over
        them, and they are as they came."""
        adapted = any(is_adapter(name) for name, _ in self.model.named_parameters())
        return adapted and self.base is not None and self.fingerprint == self._as_released

    def embed(self, ids_BT: Tensor) -> Tensor:
        """Embeddings BTD of ids."""
        return cast(Tensor, self.model.get_input_embeddings()(ids_BT))

    def hidden(
        self,
        embeds_BTD: Tensor,
        segments_BT: Tensor,
        positions_BT: Tensor,
        labels_BT: Tensor | None = None,
        rows: bool = False,
    ) -> Tensor:
        """What the output layer reads, BTD: causal, and no segment sees another.

        `labels_BT` is for models with an encoder (`Seq2Seq`). `segments_BT` numbers the examples of a row
        from 1, 0 is padding behind them. Where each row is one example no mask is needed at all: padding
        stands behind everything that counts. Attention "segments" takes packed rows as one row without
        padding; `rows` forbids it, for layers between those of the model that know places by row.
        """
        steps = embeds_BTD.shape[1]
        if int(segments_BT.max()) <= 1 and _pads_behind(segments_BT):
            positions, mask = torch.arange(steps, device=embeds_BTD.device)[None], None
        else:
            self._check_packable(*embeds_BTD.shape[:2])
            if self.attention == segments.SEGMENTS and not rows:
                return self._hidden_flat(embeds_BTD, segments_BT, positions_BT)
            positions = positions_BT
            mask = self._mask(segments_BT, embeds_BTD.dtype) if self.attention in _DENSE else None
        output = self.decoder(
            inputs_embeds=embeds_BTD,
            attention_mask=mask,
            use_cache=False,
            **self._places(positions),
        )
        return cast(Tensor, output.last_hidden_state)

    def _hidden_flat(self, embeds_BTD: Tensor, segments_BT: Tensor, positions_BT: Tensor) -> Tensor:
        flat = segments.flat(segments_BT)
        output = self.decoder(
            inputs_embeds=flat.row(embeds_BTD),
            attention_mask=segments.nowhere(embeds_BTD),
            cu_seq_lens_q=flat.bounds,
            use_cache=False,
            **self._places(flat.row(positions_BT)),
        )
        return flat.rows(output.last_hidden_state)

    def logits(self, hidden_BTD: Tensor) -> Tensor:
        """Scores BTV of the next word."""
        return cast(Tensor, self.model.get_output_embeddings()(hidden_BTD))

    @property
    def decoder(self) -> Any:
        """The model without its output layer."""
        return self.model.get_decoder()

    def _places(self, positions_BT: Tensor) -> dict[str, Tensor]:
        """Positions, for models that take them (those with ALiBi count by themselves)."""
        return {"position_ids": positions_BT} if self._places_known else {}

    def _mask(self, segments_BT: Tensor, dtype: torch.dtype) -> Tensor:
        steps = segments_BT.shape[1]
        causal_TT = torch.ones(steps, steps, dtype=torch.bool, device=segments_BT.device).tril()
        seen_BTT = (segments_BT[:, :, None] == segments_BT[:, None, :]) & causal_TT
        if self.attention != "eager":
            return seen_BTT[:, None]
        added = torch.zeros_like(seen_BTT, dtype=dtype)
        return added.masked_fill(~seen_BTT, torch.finfo(dtype).min)[:, None]

    def _check_packable(self, rows: int, steps: int) -> None:
        window = getattr(self.config, "sliding_window", None)
        # Mistral has a window in every layer and names no kinds of layers.
        kinds = getattr(self.config, "layer_types", None) or ("sliding_attention",)
        if not self._places_known:
            why = "counts positions by itself"
        elif "sliding_attention" in kinds and window and steps > window:
            why = f"looks back {window} ids only, and the row has {steps}"
        elif self.attention not in _DENSE and rows > 1:
            # transformers takes positions that restart for packing in batches of one row only.
            why = f"has {self.attention}, which finds packing in batches of one row only"
        else:
            return
        raise InputError(
            f"Several examples in one row do not work with this language model: it {why}. "
            "Train it unpacked (Stage.pack=False)."
        )

    @torch.inference_mode()
    def generate(
        self,
        prompts: Sequence[Tensor],
        ends: Callable[[int, int], bool],
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int | None = None,
    ) -> Iterator[tuple[int, int]]:
        """Speak on after each prompt (embeddings TD): yields (row, id), each row in turn.

        `ends(row, id)` is asked once for every id and says whether it is the row's last. Rows draw from
        generators of their own with the same seed, so no answer depends on its neighbours: that, stop
        strings by row and streaming without a thread are why this is not transformers' `generate`, to
        which greedy answers are held equal by the tests.
        """
        if not prompts:
            return
        from transformers import DynamicCache

        lengths = [len(prompt) for prompt in prompts]
        longest, device = max(lengths), prompts[0].device
        embeds_BTD = torch.stack(
            [F.pad(prompt, (0, 0, longest - len(prompt), 0)) for prompt in prompts]
        )
        places = torch.arange(longest, device=device)
        skipped_B = torch.tensor([longest - length for length in lengths], device=device)
        mask_BT = (places[None] >= skipped_B[:, None]).long()
        padded = bool(skipped_B.any())
        positions_BT = (places[None] - skipped_B[:, None]).clamp(min=0)
        generators = [seeded(seed) for _ in prompts]
        rows = list(range(len(prompts)))
        cache = DynamicCache(config=self.config)
        while True:
            output = self.decoder(
                inputs_embeds=embeds_BTD,
                attention_mask=mask_BT if padded else None,
                use_cache=True,
                **{self._cache_name: cache},
                **self._places(positions_BT),
            )
            logits_BV = self.logits(output.last_hidden_state[:, -1])
            drawn = pick(logits_BV, temperature, top_p, [generators[row] for row in rows])
            kept, chosen = [], []
            for at, (row, token) in enumerate(zip(rows, drawn, strict=True)):
                if not ends(row, token):
                    kept.append(at)
                    chosen.append(token)
                yield row, token
            if not kept:
                return
            if len(kept) < len(rows):
                index = torch.tensor(kept, device=device)
                cache.batch_select_indices(index)
                mask_BT, positions_BT = mask_BT[index], positions_BT[index]
                rows = [rows[at] for at in kept]
            embeds_BTD = self.embed(torch.tensor(chosen, device=device)[:, None])
            mask_BT = F.pad(mask_BT, (0, 1), value=1)
            positions_BT = positions_BT[:, -1:] + 1

    @property
    def joinable(self) -> bool:
        """Whether answers can join and leave each other between words (`read`, `step`)."""
        return self._places_known and plain(self.config)

    @torch.inference_mode()
    def read(self, embeds_BTD: Tensor, cache: Any) -> Tensor:
        """Read texts of one length on after what a cache of transformers holds; scores BV of the words that come
        next."""
        start, steps = cache.get_seq_length(), embeds_BTD.shape[1]
        output = self.decoder(
            inputs_embeds=embeds_BTD,
            use_cache=True,
            **{self._cache_name: cache},
            **self._places(torch.arange(start, start + steps, device=embeds_BTD.device)[None]),
        )
        return self.logits(output.last_hidden_state[:, -1])

    @torch.inference_mode()
    def step(self, ids_B: Tensor, slots: Slots) -> Tensor:
        """Take one more word in every row; scores BV of the words that come next."""
        output = self.decoder(
            inputs_embeds=self.embed(ids_B[:, None]),
            attention_mask=slots.mask_BT(),
            use_cache=True,
            **{self._cache_name: slots},
            **self._places(slots.positions_B[:, None]),
        )
        slots.advance()
        return self.logits(output.last_hidden_state[:, 0])

    @property
    def arguments(self) -> dict[str, Any]:
        """What rebuilds this model without its weights (JSON)."""
        return {
            "config": config_to_json(self.model.config),
            "attention": self.attention,
            "base": self.base,
            "digest": self.digest,
        }

    @classmethod
    def from_arguments(
        cls,
        config: dict[str, Any],
        attention: str | None = None,
        base: str | None = None,
        digest: str | None = None,
    ) -> Language:
        model = cls._released().from_config(config_from_json(config))
        language = cls(model, attention=attention, digest=digest)
        language.base = base
        return language

    @classmethod
    def from_folder(
        cls, folder: Path | str, attention: str | None = None, dtype: str = "auto"
    ) -> Language:
        """A released language model, by folder or name on the hub."""
        model = cls._released().from_pretrained(folder, dtype=dtype)
        base = str(Path(folder).resolve()) if Path(folder).is_dir() else str(folder)
        return cls(model, attention=attention, base=base)

    @classmethod
    def _released(cls) -> Any:
        import transformers

        return getattr(transformers, cls.KIND)


def _pads_behind(segments_BT: Tensor) -> bool:
    """Whether each row holds its ids first and its padding after them."""
    return not bool((segments_BT.diff(dim=1) > 0).any())
