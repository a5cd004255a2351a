"""The Q-Former: transformers' numbers, the masks of BLIP-2's figure 2, and its objectives beside oracles by hand."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the extra local")
from models.tiny import enliven, word_tokenizer  # noqa: E402

from looksay.errors import InputError  # noqa: E402
from looksay.models.batching import IGNORE  # noqa: E402
from looksay.models.contrastive import matching_loss, negatives  # noqa: E402
from looksay.models.fusion import both_ways, forwards  # noqa: E402
from looksay.models.qformer import (  # noqa: E402
    QFormer,
    QFormerText,
    qformer_keys,
    query_contrast,
    similarities,
)

pytestmark = pytest.mark.local
CLOSE = {"atol": 1e-5, "rtol": 1e-5}
EXACT = {"atol": 1e-10, "rtol": 1e-10}
QUERIES, LAYERS = 5, 4


def pair(seed: int = 0, dtype: Any = None) -> tuple[QFormer, QFormerText]:
    torch.manual_seed(seed)
    queries = QFormer(24, 16, queries=QUERIES, width=32, layers=LAYERS, heads=4, inner=64)
    text = QFormerText.over(word_tokenizer(), width=32, layers=LAYERS, inner=64, embedding=8)
    return enliven(queries, seed).eval().to(dtype), enliven(text, seed + 1).eval().to(dtype)


def data(rows: int = 3, dtype: Any = None) -> tuple[Any, Any, Any]:
    """Features, ids and what of them is no padding."""
    torch.manual_seed(7)
    features = torch.randn(rows, 7, 24, dtype=dtype)
    ids = torch.randint(8, 40, (rows, 6))
    seen = torch.ones(rows, 6, dtype=torch.bool)
    seen[1, 4:] = False
    return features, ids.masked_fill(~seen, 0), seen


@pytest.fixture(scope="module")
def released() -> tuple[Any, Any, QFormer, QFormerText]:
    """transformers' Q-Former and text embeddings, and ours with the same weights."""
    from transformers import Blip2QFormerConfig, Blip2QFormerModel
    from transformers.models.blip_2.modeling_blip_2 import Blip2TextEmbeddings

    config = Blip2QFormerConfig(
        vocab_size=70,
        hidden_size=32,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        intermediate_size=64,
        encoder_hidden_size=24,
        cross_attention_frequency=2,
        max_position_embeddings=20,
        use_qformer_text_input=True,
    )
    torch.manual_seed(0)
    hf = enliven(Blip2QFormerModel(config)).eval()
    embeddings = enliven(Blip2TextEmbeddings(config), 1).eval()
    ours, text = pair()
    text = QFormerText(70, width=32, layers=LAYERS, inner=64, positions=20, embedding=8).eval()
    names = qformer_keys(LAYERS)
    assert set(names) == set(hf.state_dict())
    mapped = {names[k]: v for k, v in hf.state_dict().items()}
    left = ours.load_state_dict(
        {k: v for k, v in mapped.items() if not k.startswith("text.")}, strict=False
    )
    assert not left.unexpected_keys
    assert {k.split(".")[0] for k in left.missing_keys} == {"query_tokens", "seen_norm", "project"}
    feeds = {k.removeprefix("text."): v for k, v in mapped.items() if k.startswith("text.")}
    assert not text.load_state_dict(feeds, strict=False).unexpected_keys
    with torch.no_grad():
        text.words.weight.copy_(embeddings.word_embeddings.weight)
        text.places.weight.copy_(embeddings.position_embeddings.weight)
    return hf, embeddings, ours, text


@torch.inference_mode()
def test_queries_text_and_both_are_those_of_transformers(released: Any) -> None:
    hf, embeddings, ours, text = released
    features, ids, seen = data()
    looked_at = ours.seen(features)
    tokens = ours.query_tokens.expand(len(ids), -1, -1)
    alone = hf(tokens, encoder_hidden_states=looked_at).last_hidden_state
    torch.testing.assert_close(ours.read(features), alone, **CLOSE)
    read = hf(embeddings(ids), query_length=0, attention_mask=seen.long()).last_hidden_state
    torch.testing.assert_close(text.alone(ours, ids, seen)[seen], read[seen], **CLOSE)
    mask = torch.cat([torch.ones(len(ids), QUERIES).long(), seen.long()], dim=1)
    both = hf(
        embeddings(ids, query_embeds=tokens),
        query_length=QUERIES,
        attention_mask=mask,
        encoder_hidden_states=looked_at,
    ).last_hidden_state
    found = text.together(ours, features, ids, seen)
    torch.testing.assert_close(found[mask > 0], both[mask > 0], **CLOSE)


@torch.inference_mode()
def test_each_way_is_one_pass_under_its_mask_of_figure_2() -> None:
    ours, text = pair()
    features, ids, seen = data()
    rows, steps = ids.shape
    q = torch.arange(QUERIES + steps) < QUERIES  # who is a query
    asks, told = q[:, None], q[None, :]
    before = torch.ones(QUERIES + steps, QUERIES + steps).tril().bool()
    masks = {
        "apart": asks == told,
        "together": torch.ones_like(before),
        "causal": (asks & told) | (~asks & (told | before)),
    }
    padded = torch.cat([torch.ones(rows, QUERIES).bool(), seen], dim=1)
    x = text._beside(ours, ids)

    def once(name: str) -> Any:
        mask = masks[name] & padded[:, None, None, :]
        return text._run(ours, x, mask, features)

    apart, together, causal = once("apart"), once("together"), once("causal")
    torch.testing.assert_close(ours.read(features), apart[:, :QUERIES], **CLOSE)
    torch.testing.assert_close(text.alone(ours, ids, seen)[seen], apart[:, QUERIES:][seen], **CLOSE)
    found = text.together(ours, features, ids, seen)
    torch.testing.assert_close(found[padded], together[padded], **CLOSE)
    written = text.written(ours, features, ids, seen)
    torch.testing.assert_close(written[seen], causal[:, QUERIES:][seen], **CLOSE)
    # The masks differ in what they show.
    assert not torch.allclose(apart[:, :QUERIES], together[:, :QUERIES], atol=1e-3)
    assert not torch.allclose(causal[:, QUERIES:], together[:, QUERIES:], atol=1e-3)


@torch.inference_mode()
@pytest.mark.parametrize("stepwise", [False, True])
def test_writing_over_kept_queries_is_the_same_as_in_one_pass(stepwise: bool) -> None:
    """LAVIS keeps the keys and values of the queries and lets the text see them; UniLM's mask does it at once."""
    ours, text = pair()
    features, ids, _ = data()
    seen = torch.ones_like(ids, dtype=torch.bool)
    kept = ours.bert.memory()
    tokens = ours.bert.settled(ours.query_tokens).expand(len(ids), -1, -1)
    ours.bert(tokens, None, ours.seen(features), queries=QUERIES, memory=kept)
    embedded = text._embedded(ours, ids)
    found, past = [], QUERIES
    for piece in embedded.split(1, dim=1) if stepwise else [embedded]:
        before = torch.ones(len(ids), past + piece.shape[1], dtype=torch.bool)
        mask = forwards(before, past)
        found.append(ours.bert(piece, mask, memory=kept, feeds=text.feeds))
        past += piece.shape[1]
    expected = text.written(ours, features, ids, seen)
    torch.testing.assert_close(torch.cat(found, dim=1), expected, **CLOSE)


def test_writing_is_weighed_as_by_hand() -> None:
    """Image-grounded text generation in float64: [DEC] first, the next id from each, smoothing 0.1."""
    ours, text = pair(dtype=torch.float64)
    features, ids, seen = data(dtype=torch.float64)
    labels = ids.masked_fill(~seen, IGNORE)
    labels[:, 0] = IGNORE
    loss = text.words_loss(ours, features, ids, labels, seen)
    said = ids.clone()
    said[:, 0] = text.start
    states = text.written(ours, features, said, seen)
    total, count = 0.0, 0
    vocabulary = text.words.weight.shape[0]
    for row in range(len(ids)):
        for place in range(1, int(seen[row].sum())):
            x = states[row, place - 1]
            dense = text.head.dense.weight @ x + text.head.dense.bias
            bent = 0.5 * dense * (1 + torch.erf(dense / 2**0.5))
            normed = (bent - bent.mean()) / (bent.var(unbiased=False) + 1e-12).sqrt()
            normed = normed * text.head.norm.weight + text.head.norm.bias
            scores = text.words.weight @ normed + text.head.bias
            logs = scores - scores.exp().sum().log()
            total = total - 0.9 * logs[ids[row, place]] - 0.1 * logs.sum() / vocabulary
            count += 1
    torch.testing.assert_close(loss, total / count, **EXACT)
    loss.backward()
    assert text.words.weight.grad.abs().sum() > 0
    assert ours.query_tokens.grad.abs().sum() > 0


def test_contrast_is_weighed_as_by_hand() -> None:
    """The most alike of the queries, temperature, smoothing 0.1 over what is no picture of the same."""
    torch.manual_seed(1)
    images = torch.nn.functional.normalize(torch.randn(4, 3, 6, dtype=torch.float64), dim=-1)
    texts = torch.nn.functional.normalize(torch.randn(4, 6, dtype=torch.float64), dim=-1)
    ids = torch.tensor([5, 9, 5, 2])  # the first and the third are one picture
    temperature = torch.tensor(0.07, dtype=torch.float64)
    loss, to_texts, to_images = query_contrast(images, texts, temperature, ids)
    total = 0.0
    for row in range(4):
        for towards_texts in (True, False):
            allowed = [c for c in range(4) if c == row or ids[c] != ids[row]]
            scores = []
            for c in allowed:
                image, text = (row, c) if towards_texts else (c, row)
                scores.append(max(float(images[image, q] @ texts[text]) for q in range(3)) / 0.07)
            logs = torch.tensor(scores, dtype=torch.float64).log_softmax(0)
            total += float(-0.9 * logs[allowed.index(row)] - 0.1 * logs.mean()) / 8
    assert float(loss) == pytest.approx(total, abs=1e-10)
    torch.testing.assert_close(to_texts, similarities(images, texts) / 0.07, **EXACT)
    torch.testing.assert_close(to_images, to_texts.T, **EXACT)
    # Where all pictures differ it is torch's own cross-entropy with label smoothing.
    plain, *_ = query_contrast(images, texts, temperature, torch.arange(4))
    own = torch.arange(4)
    expected = sum(
        torch.nn.functional.cross_entropy(s, own, label_smoothing=0.1)
        for s in (to_texts, to_texts.T)
    )
    torch.testing.assert_close(plain, expected / 2, **EXACT)


def test_contrast_of_one_picture_is_refused() -> None:
    images, texts = torch.ones(2, 3, 4), torch.ones(2, 4)
    with pytest.raises(InputError, match="1 different pictures"):
        query_contrast(images, texts, torch.tensor(0.07), torch.tensor([3, 3]))


def test_matching_takes_the_mean_of_the_queries_logits() -> None:
    ours, text = pair(dtype=torch.float64)
    features, ids, seen = data(dtype=torch.float64)
    logits = text.matches(ours, features, ids, seen)
    states = text.together(ours, features, ids, seen)
    each = [
        [text.matching.weight @ states[row, q] + text.matching.bias for q in range(QUERIES)]
        for row in range(len(ids))
    ]
    expected = torch.stack([torch.stack(row).mean(0) for row in each])
    torch.testing.assert_close(logits, expected, **EXACT)
    chances = expected.softmax(-1)
    right = torch.stack([chances[0, 1], chances[1, 0], chances[2, 0]])
    torch.testing.assert_close(matching_loss(logits), -right.log().mean(), **EXACT)


def test_negatives_are_drawn_by_how_alike_they_are_and_never_of_the_same_picture() -> None:
    torch.manual_seed(2)
    scores = 2 * torch.randn(4, 4, dtype=torch.float64)
    ids = torch.tensor([1, 2, 1, 3])
    draws = [negatives(scores, scores.T.contiguous(), ids, seed) for seed in range(4000)]
    for found, table in (
        (torch.stack([d.texts_B for d in draws]), scores),
        (torch.stack([d.images_B for d in draws]), scores.T),
    ):
        for row in range(4):
            weights = table[row].softmax(0) + 1e-4
            weights[ids == ids[row]] = 0
            shares = torch.bincount(found[:, row], minlength=4) / len(draws)
            torch.testing.assert_close(shares.double(), weights / weights.sum(), atol=0.03, rtol=0)
            assert float(shares[ids == ids[row]].sum()) == 0


def test_padding_changes_nothing() -> None:
    ours, text = pair()
    features, ids, seen = data()
    wider = torch.nn.functional.pad(ids, (0, 3), value=9)
    hidden = torch.nn.functional.pad(seen, (0, 3), value=False)
    labels = torch.nn.functional.pad(ids.masked_fill(~seen, IGNORE), (0, 3), value=IGNORE)
    with torch.inference_mode():
        torch.testing.assert_close(
            text.matches(ours, features, wider, hidden), text.matches(ours, features, ids, seen)
        )
        torch.testing.assert_close(
            text.text_embeds(text.alone(ours, wider, hidden)),
            text.text_embeds(text.alone(ours, ids, seen)),
        )
        torch.testing.assert_close(
            text.words_loss(ours, features, wider, labels, hidden),
            text.words_loss(ours, features, ids, labels[:, :6], seen),
        )


def test_a_text_has_its_own_words() -> None:
    """[CLS] and [DEC] lie beyond a tokenizer that lacks them; BERT's own [CLS] and [SEP] are taken."""
    words = word_tokenizer()
    text = QFormerText.over(words, width=8, layers=1, inner=8)
    assert (text.first, text.start, text.last) == (len(words), len(words) + 1, words.eos_token_id)
    assert text.words.weight.shape[0] == len(words) + 2
    asked = "a dog left of a tree"
    assert text.tokenizer(asked)["input_ids"] == words(asked)["input_ids"]
    words.add_special_tokens({"cls_token": "[CLS]", "sep_token": "[SEP]"})
    bert = QFormerText.over(words, width=8, layers=1, inner=8)
    assert (bert.first, bert.last) == (words.cls_token_id, words.sep_token_id)
    assert bert.start == len(words)


def test_the_connector_reads_with_no_text_beside_it() -> None:
    ours, _ = pair()
    features, *_ = data()
    assert ours.tokens(7) == QUERIES
    assert ours(features).shape == (3, QUERIES, 16)
    assert both_ways(torch.ones(2, 3, dtype=torch.bool)).shape == (2, 1, 1, 3)
