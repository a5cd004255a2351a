"""BLIP-2's Q-Former (arXiv 2301.12597, section 3): queries that read a picture, beside a text that they may see.

Two parts make one transformer. `QFormer` is the query branch, which both stages train and a language model
listens to; it is a connector. `QFormerText` is what only the first stage has: words, the feed-forwards of the
text, and the heads of three objectives. Self-attention is the query branch's, for both.

Shapes: B rows, I images, T ids in a row, Q queries, N features of a picture, D width, E width of contrast,
G rows of all processes; masks are True where something is seen.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from looksay.models import ranks
from looksay.models.contrastive import check_batch, same, soft_cross_entropy
from looksay.models.fusion import Bert, Feed, Repeated, WordHead, both_ways, forwards, initialised
from looksay.models.losses import token_loss

SMOOTHING = 0.1
"""Of the targets of contrast and of words, in the first stage (LAVIS, blip2_qformer.py)."""


class QFormer(nn.Module):
    """Learned queries that read the picture through cross-attention, then a matrix to the language model.

    Section 3.1: 12 layers of width 768, 32 queries, cross-attention in every second layer. The norm of the
    tower's features (LAVIS: ln_vision) trains with the queries. `width_out` 0: no matrix, for a model that
    never speaks. Without its first stage it starts blind.
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
        eps: float = 1e-5,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.width_in, self.width_out, self.queries, self.width = (
            width_in,
            width_out,
            queries,
            width,
        )
        self.layers, self.heads, self.inner, self.cross_every = layers, heads, inner, cross_every
        self.eps, self.dropout = eps, dropout
        self.seen_norm = nn.LayerNorm(width_in, eps=eps)
        self.query_tokens = nn.Parameter(torch.randn(1, queries, width) * 0.02)
        self.bert = Bert(
            0,
            width,
            layers,
            heads,
            inner,
            width_in=width_in,
            cross=tuple(range(0, layers, cross_every)),
            queries=True,
            dropout=dropout,
            text=False,
        )
        self.project = nn.Linear(width, width_out) if width_out else None

    def tokens(self, n_in: int) -> int:
        return self.queries

    def seen(self, features: Tensor | Repeated) -> Tensor | Repeated:
        """The tower's features IND as the queries look at them."""
        if isinstance(features, Repeated):
            return features._replace(contexts_CSD=self._normed(features.contexts_CSD))
        return self._normed(features)

    def _normed(self, features_IND: Tensor) -> Tensor:
        normed: Tensor = self.seen_norm(features_IND.to(self.query_tokens.dtype))
        return normed

    def read(self, features_IND: Tensor) -> Tensor:
        """What the queries found, before the matrix: IQD."""
        queries_IQD = self.bert.settled(self.query_tokens).expand(len(features_IND), -1, -1)
        found: Tensor = self.bert(
            queries_IQD, context=self.seen(features_IND), queries=self.queries
        )
        return found

    def forward(self, features_IND: Tensor) -> Tensor:
        assert self.project is not None
        embeds: Tensor = self.project(self.read(features_IND))
        return embeds


class QFormerText(nn.Module):
    """The text's side: words, places, feed-forwards, and heads of contrast, matching and words.

    `words` is its tokenizer as JSON (of the library tokenizers), because the language model of the second stage
    has another. A text is `first`, at most `length` ids with it, `last`; where it is written, `start` ([DEC])
    stands for `first`. `writes`: it has an output layer (released retrieval models have none).
    """

    def __init__(
        self,
        vocabulary: int,
        width: int = 768,
        layers: int = 12,
        inner: int = 3072,
        positions: int = 512,
        embedding: int = 256,
        words: str = "",
        first: int = 101,
        last: int = 102,
        start: int = 30522,
        length: int = 32,
        writes: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.arguments: dict[str, Any] = {
            "vocabulary": vocabulary,
            "width": width,
            "layers": layers,
            "inner": inner,
            "positions": positions,
            "embedding": embedding,
            "words": words,
            "first": first,
            "last": last,
            "start": start,
            "length": length,
            "writes": writes,
            "dropout": dropout,
        }
        self.first, self.last, self.start, self.length = first, last, start, length
        self.words, self.places = nn.Embedding(vocabulary, width), nn.Embedding(positions, width)
        self.feeds = nn.ModuleList(Feed(width, inner, dropout) for _ in range(layers))
        self.see, self.say = nn.Linear(width, embedding), nn.Linear(width, embedding)
        self.matching = nn.Linear(width, 2)
        self.temperature = nn.Parameter(torch.tensor(0.07))
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))
        self.apply(initialised)
        self.head = WordHead(width, vocabulary) if writes else None
        self._words: Any = None

    @classmethod
    def over(cls, tokenizer: Any, **arguments: Any) -> QFormerText:
        """One for the words of a tokenizer of transformers. Where that has no first token of a text it gets one
        beyond the vocabulary, and [DEC] always is one (LAVIS, init_tokenizer)."""
        vocabulary = len(tokenizer)
        first, last = tokenizer.cls_token_id, tokenizer.sep_token_id
        if first is None:
            first, vocabulary = vocabulary, vocabulary + 1
        return cls(
            vocabulary + 1,
            words=tokenizer.backend_tokenizer.to_str(),
            first=first,
            last=tokenizer.eos_token_id if last is None else last,
            start=vocabulary,
            **arguments,
        )

    @property
    def tokenizer(self) -> Any:
        """The tokenizer of these words, as one of transformers."""
        if self._words is None:
            from tokenizers import Tokenizer
            from transformers import PreTrainedTokenizerFast

            core = Tokenizer.from_str(self.arguments["words"])
            core.no_padding()
            core.no_truncation()
            self._words = PreTrainedTokenizerFast(tokenizer_object=core)
        return self._words

    # -- the three ways in which queries and text see each other (figure 2)

    def alone(self, queries: QFormer, ids_BT: Tensor, seen_BT: Tensor) -> Tensor:
        """Neither sees the other (uni-modal): the text's states, BTD."""
        states_BTD: Tensor = queries.bert(
            self._embedded(queries, ids_BT), both_ways(seen_BT), feeds=self.feeds
        )
        return states_BTD

    def together(
        self, queries: QFormer, features: Tensor | Repeated, ids_BT: Tensor, seen_BT: Tensor
    ) -> Tensor:
        """All see all (bi-directional): the states of the queries, then of the text, B (Q + T) D."""
        x_BTD = self._beside(queries, ids_BT)
        return self._run(
            queries, x_BTD, both_ways(_with_queries(seen_BT, queries.queries)), features
        )

    def written(
        self, queries: QFormer, features_BND: Tensor, ids_BT: Tensor, seen_BT: Tensor
    ) -> Tensor:
        """The text sees the queries and what came before, the queries only each other (multimodal causal, as in
        UniLM): the text's states, BTD."""
        count = queries.queries
        mask = forwards(_with_queries(seen_BT, count)).clone()
        mask[..., :count, :count] = True
        return self._run(queries, self._beside(queries, ids_BT), mask, features_BND)[:, count:]

    def _embedded(self, queries: QFormer, ids_BT: Tensor) -> Tensor:
        return queries.bert.settled(self._placed(ids_BT))

    def _beside(self, queries: QFormer, ids_BT: Tensor) -> Tensor:
        tokens_BQD = queries.query_tokens.expand(len(ids_BT), -1, -1)
        return queries.bert.settled(torch.cat([tokens_BQD, self._placed(ids_BT)], dim=1))

    def _placed(self, ids_BT: Tensor) -> Tensor:
        placed: Tensor = self.words(ids_BT) + self.places.weight[: ids_BT.shape[1]]
        return placed

    def _run(
        self, queries: QFormer, x_BTD: Tensor, mask: Tensor, features: Tensor | Repeated
    ) -> Tensor:
        states_BTD: Tensor = queries.bert(
            x_BTD,
            mask,
            queries.seen(features),
            queries=queries.queries,
            feeds=self.feeds,
        )
        return states_BTD

    # -- heads

    def image_embeds(self, found_IQD: Tensor) -> Tensor:
        """What the queries found, for contrast: IQE, each query of length 1."""
        return F.normalize(self.see(found_IQD), dim=-1)

    def text_embeds(self, states_BTD: Tensor) -> Tensor:
        """The text's first place, for contrast: BE, of length 1."""
        return F.normalize(self.say(states_BTD[:, 0]), dim=-1)

    def matches(
        self, queries: QFormer, features: Tensor | Repeated, ids_BT: Tensor, seen_BT: Tensor
    ) -> Tensor:
        """Logits B2 of not belonging together, and of belonging: the mean over the queries (section 3.1)."""
        states_BTD = self.together(queries, features, ids_BT, seen_BT)
        logits_B2: Tensor = self.matching(states_BTD[:, : queries.queries]).mean(1)
        return logits_B2

    def words_loss(
        self,
        queries: QFormer,
        features_BND: Tensor,
        ids_BT: Tensor,
        labels_BT: Tensor,
        seen_BT: Tensor,
    ) -> Tensor:
        """Image-grounded text generation: cross-entropy with label smoothing over the text's ids but the first
        (in whose place [DEC] stands), a mean over those of all processes."""
        assert self.head is not None
        ids_BT = torch.cat([torch.full_like(ids_BT[:, :1], self.start), ids_BT[:, 1:]], dim=1)
        hidden_BTD = self.head(self.written(queries, features_BND, ids_BT, seen_BT))
        loss = token_loss(
            hidden_BTD,
            self.words.weight,
            labels_BT,
            seen_BT.long(),
            self.head.bias,
            smoothing=SMOOTHING,
        )
        count = (labels_BT[:, 1:] >= 0).sum()
        return ranks.mean(loss * count, count)


def similarities(images_IQE: Tensor, texts_BE: Tensor) -> Tensor:
    """How alike pictures and texts are, IB: that of the query which is most like the text (section 3.1)."""
    return torch.einsum("iqe,be->ibq", images_IQE, texts_BE).amax(-1)


def query_contrast(
    images_BQE: Tensor, texts_BE: Tensor, temperature: Tensor, ids_B: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Image–text contrast over the rows of all processes: the loss, and the scores both ways, BG.

    No momentum, no queue: the tower rests, so batches are large (section 3.1). Targets are smoothed. The
    published code gathers without gradients; here they flow, so that how a batch is split changes nothing.
    What shows the same picture is no negative (`ids_B`), which the published code sees to in fine-tuning only.
    """
    check_batch(ids_B, len(texts_BE))
    to_texts_BG = similarities(images_BQE, ranks.gather(texts_BE)) / temperature
    to_images_BG = similarities(ranks.gather(images_BQE), texts_BE).T / temperature
    with torch.no_grad():
        own_BG = torch.zeros_like(to_texts_BG)
        own_BG[:, ranks.own(len(ids_B))] = torch.eye(len(ids_B), device=own_BG.device)
        allowed_BG = ~same(ids_B, ranks.gather(ids_B)) | own_BG.bool()
        even_BG = allowed_BG.to(own_BG.dtype) / allowed_BG.sum(1, keepdim=True)
        targets_BG = (1 - SMOOTHING) * own_BG + SMOOTHING * even_BG
    least = torch.finfo(to_texts_BG.dtype).min
    loss = soft_cross_entropy(to_texts_BG.masked_fill(~allowed_BG, least), targets_BG)
    loss = loss + soft_cross_entropy(to_images_BG.masked_fill(~allowed_BG, least), targets_BG)
    return loss / 2, to_texts_BG.detach(), to_images_BG.detach()


def _with_queries(seen_BT: Tensor, queries: int) -> Tensor:
    return F.pad(seen_BT, (queries, 0), value=True)


def qformer_keys(layers: int, cross_every: int = 2) -> dict[str, str]:
    """Names of the weights of `Blip2QFormerModel` to those of `QFormer`, and of its text's feed-forwards to those
    of `QFormerText` ("text.…")."""
    names = {"layernorm": "bert.norm"}
    for number in range(layers):
        theirs, ours = f"encoder.layer.{number}", f"bert.blocks.{number}"
        attentions = {"attention": "itself"}
        if number % cross_every == 0:
            attentions["crossattention"] = "cross"
        for old, new in attentions.items():
            for part in ("query", "key", "value"):
                names[f"{theirs}.{old}.attention.{part}"] = f"{ours}.{new}.attention.{part}"
            names[f"{theirs}.{old}.output.dense"] = f"{ours}.{new}.attention.out"
            names[f"{theirs}.{old}.output.LayerNorm"] = f"{ours}.{new}.norm"
        for end, feed in (("_query", f"{ours}.query_feed"), ("", f"text.feeds.{number}")):
            names[f"{theirs}.intermediate{end}.dense"] = f"{feed}.up"
            names[f"{theirs}.output{end}.dense"] = f"{feed}.down"
            names[f"{theirs}.output{end}.LayerNorm"] = f"{feed}.norm"
    return {f"{a}.{end}": f"{b}.{end}" for a, b in names.items() for end in ("weight", "bias")}
