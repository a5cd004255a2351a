"""Language models with an encoder (T5, Flan-T5, BART) behind the same face as the causal ones.

Everything before an answer goes into the encoder, the answer comes out of the decoder (BLIP-2,
section 3.3). Of several turns each answer is one such pair, and what was said before it is read.

Embeddings may be wider than the model: what stands beyond its width is for the encoder alone (SimVLM: where
a patch of an image lies).

Shapes: B rows, T ids in a row, D width, E examples (answers), S read and A answered ids of the longest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import cast

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from looksay.errors import InputError
from looksay.models.batching import IGNORE
from looksay.models.decoding import pick, seeded
from looksay.models.language import Language

READ_AND_WRITE = (
    "{% for m in messages %}{{ m['content'] }}"
    "{{ eos_token if m['role'] == 'assistant' else ' ' }}{% endfor %}"
)
"""A chat template for models that were trained on no turns: what is read, and behind it what is written."""


class Seq2Seq(Language):
    """Any encoder–decoder of transformers that writes text."""

    KIND = "AutoModelForSeq2SeqLM"
    joinable = False

    def hidden(
        self,
        embeds_BTD: Tensor,
        segments_BT: Tensor,
        positions_BT: Tensor,
        labels_BT: Tensor | None = None,
        rows: bool = False,
    ) -> Tensor:
        """What the output layer reads, BTD, one place before each labelled id, and 0 elsewhere.

        Examples are read one by one, so `rows` changes nothing."""
        if labels_BT is None:
            raise ValueError("an encoder-decoder needs the labels, which part its text in two")
        spans = list(_answers(labels_BT, segments_BT))
        if any(start == at for _, start, at, _ in spans):
            raise InputError(
                "An example begins with its answer, so the encoder of this language model has nothing to "
                "read. Use a template with words or a picture before the answer."
            )
        words_BTD = embeds_BTD[..., : self.width]
        hidden_BTD = torch.zeros_like(words_BTD)
        if not spans:
            return hidden_BTD
        read = [embeds_BTD[row, start:at] for row, start, at, _ in spans]
        answers = [words_BTD[row, at : end - 1] for row, _, at, end in spans]
        state, mask_ES = self._encode(read)
        first_1D = self._first(embeds_BTD.device)
        given_EAD = pad_sequence([torch.cat([first_1D, a]) for a in answers], batch_first=True)
        output = self.decoder(
            inputs_embeds=given_EAD,
            encoder_hidden_states=state,
            encoder_attention_mask=mask_ES,
            use_cache=False,
        )
        found_EAD = self._scaled(output.last_hidden_state)
        inside = torch.cat([torch.full((end - at,), row) for row, _, at, end in spans])
        places = torch.cat([torch.arange(at - 1, end - 1) for _, _, at, end in spans])
        values = torch.cat(
            [found_EAD[e, : end - at] for e, (_, _, at, end) in enumerate(spans)]
        ).to(hidden_BTD.dtype)
        device = hidden_BTD.device
        return hidden_BTD.index_put((inside.to(device), places.to(device)), values)

    @torch.inference_mode()
    def generate(
        self,
        prompts: Sequence[Tensor],
        ends: Callable[[int, int], bool],
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int | None = None,
    ) -> Iterator[tuple[int, int]]:
        """As `Language.generate`; rows that have ended stay in the batch unheard."""
        if not prompts:
            return
        from transformers import DynamicCache, EncoderDecoderCache

        device = prompts[0].device
        state, mask_BS = self._encode(prompts)
        generators = [seeded(seed) for _ in prompts]
        cache = EncoderDecoderCache(
            DynamicCache(config=self.config), DynamicCache(config=self.config)
        )
        embeds_BTD = self._first(device).expand(len(prompts), 1, -1)
        live = set(range(len(prompts)))
        while live:
            output = self.decoder(
                inputs_embeds=embeds_BTD,
                encoder_hidden_states=state,
                encoder_attention_mask=mask_BS,
                use_cache=True,
                **{self._cache_name: cache},
            )
            logits_BV = self.logits(self._scaled(output.last_hidden_state[:, -1]))
            drawn = pick(logits_BV, temperature, top_p, generators)
            for row in sorted(live):
                if ends(row, drawn[row]):
                    live.remove(row)
                yield row, drawn[row]
            embeds_BTD = self.embed(torch.tensor(drawn, device=device)[:, None])

    def _encode(self, read: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        device = read[0].device
        embeds_ESD = pad_sequence(list(read), batch_first=True)
        lengths_E = torch.tensor([len(one) for one in read], device=device)
        mask_ES = (torch.arange(embeds_ESD.shape[1], device=device) < lengths_E[:, None]).long()
        output = self.model.get_encoder()(inputs_embeds=embeds_ESD, attention_mask=mask_ES)
        return output.last_hidden_state, mask_ES

    def _first(self, device: torch.device) -> Tensor:
        start = torch.tensor([self.config.decoder_start_token_id], device=device)
        return self.embed(start)

    def _scaled(self, hidden_BTD: Tensor) -> Tensor:
        # T5 scales where its output layer is its embedding; Flan-T5 does not.
        if getattr(self.config, "scale_decoder_outputs", False):
            return cast(Tensor, hidden_BTD * self.width**-0.5)
        return hidden_BTD


def _answers(labels_BT: Tensor, segments_BT: Tensor) -> Iterator[tuple[int, int, int, int]]:
    """(row, start of its example, start of the answer, end) of each run of labels."""
    learned_BT = (labels_BT != IGNORE) & (segments_BT > 0)
    for row, (learned, segments) in enumerate(
        zip(learned_BT.tolist(), segments_BT.tolist(), strict=True)
    ):
        start = at = 0
        for place, segment in enumerate(segments):
            fresh = place == 0 or segments[place - 1] != segment
            start = place if fresh else start
            if learned[place] and (fresh or not learned[place - 1]):
                at = place
            last = place + 1 == len(segments) or segments[place + 1] != segment
            if learned[place] and (last or not learned[place + 1]):
                yield row, start, at, place + 1
