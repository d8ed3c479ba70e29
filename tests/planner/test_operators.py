"""The operators of a layer: against the parameters, and against torch's own count."""

from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from llmtrain.config.compose import compose
from llmtrain.planner.candidate import Candidate, candidate_of
from llmtrain.planner.flops import layer_flops, whole
from llmtrain.planner.operators import Part, dense_layer, head, moe_layer, padded_vocab
from llmtrain.planner.parameters import Cut, layer

RECIPES = ("gpt3-530b", "bloom-176b", "llama3-70b", "nemotron4-340b", "mixtral-8x7b", "deepseek-v3")


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("tp", [1, 2, 8])
def test_products_hold_the_parameters(name: str, tp: int) -> None:
    """The matrices of a layer's products are its parameters, but for norms and biases."""
    recipe = compose([f"recipe={name}"])
    model = replace(recipe.model, bias=False, qkv_bias=False)
    layout = replace(whole(), tp=tp, etp=tp)
    part = moe_layer(model, layout) if model.experts else dense_layer(model, layout)

    matrices = sum(gemm.weights for gemm in part.gemms)

    counted = layer(model, model.layers - 1, Cut(tp=tp, etp=tp)).total
    assert matrices == pytest.approx(counted, rel=2e-3)


@pytest.mark.parametrize("name", RECIPES)
def test_cuts_keep_the_work(name: str) -> None:
    """What the tensor parallel ranks compute together is what one rank would compute alone."""
    model = replace(compose([f"recipe={name}"]).model, mla=None, heads=64, kv_heads=8)
    alone = _gemm_flops(model, whole())

    cut = replace(whole(), tp=4, sequence=1)

    assert 4 * _gemm_flops(model, replace(cut, etp=4)) == pytest.approx(alone, rel=1e-3)


def _gemm_flops(model: object, layout: Candidate) -> float:
    made: Part = dense_layer(model, layout)  # type: ignore[arg-type]
    return made.gemm_flops()


def test_vocabulary_is_padded_as_the_recipes() -> None:
    """The same rule as :meth:`Model.padded_vocab`, which also takes arrays."""
    model = compose(["recipe=gpt3-5b"]).model

    for tp in (1, 2, 3, 8):
        assert padded_vocab(model, tp) == model.padded_vocab(tp)


@pytest.mark.parametrize("name", ["gpt3-126m", "llama2-7b", "llama3-8b"])
def test_layer_against_torch_counter(name: str) -> None:
    """Forward and backward operations of a layer written in plain torch, counted by torch."""
    recipe = compose([f"recipe={name}"])
    model = replace(recipe.model, hidden=256, heads=8, seq=128, head_dim=None, layers=1)
    model = replace(model, kv_heads=4, ffn=640, vocab=1000)
    made = layer_flops(dense_layer(model, whole()))
    logits = layer_flops(head(model, whole()))

    with FlopCounterMode(display=False) as counter:
        _forward(model.hidden, 8, 4, 32, 640, 128, model.gated, padded=model.padded_vocab(1))

    forward = made.forward("full") + logits.gemm
    assert counter.get_total_flops() == pytest.approx(3 * forward)


def _forward(
    hidden: int, heads: int, kv: int, dim: int, ffn: int, seq: int, gated: bool, padded: int
) -> None:
    x = torch.randn(seq, hidden, device="meta", requires_grad=True)

    def weight(rows: int, columns: int) -> torch.Tensor:
        return torch.randn(rows, columns, device="meta", requires_grad=True)

    qkv = x @ weight(hidden, (heads + 2 * kv) * dim)
    q, k, v = qkv.split([heads * dim, kv * dim, kv * dim], dim=1)
    q = q.view(seq, heads, dim).transpose(0, 1)
    k = k.view(seq, kv, dim).transpose(0, 1).repeat_interleave(heads // kv, 0)
    v = v.view(seq, kv, dim).transpose(0, 1).repeat_interleave(heads // kv, 0)
    scores = torch.softmax(q @ k.transpose(1, 2), dim=-1)
    out = (scores @ v).transpose(0, 1).reshape(seq, heads * dim) @ weight(heads * dim, hidden)
    up = out @ weight(hidden, (2 if gated else 1) * ffn)
    inner = torch.nn.functional.silu(up[:, :ffn]) * up[:, ffn:] if gated else up.relu()
    (inner @ weight(ffn, hidden) @ weight(hidden, padded)).sum().backward()


def test_sequence_parallel_cuts_the_passes() -> None:
    """Norms and residual sums are cut over the tensor parallel ranks, the rest is cut anyway."""
    recipe = compose(["recipe=gpt3-530b"])
    layout = candidate_of(recipe)
    with_it = dense_layer(recipe.model, layout)
    without = dense_layer(recipe.model, replace(layout, sequence=0))

    for cut, whole_pass in zip(with_it.passes, without.passes, strict=True):
        ratio = 8 if cut.kind in ("norm", "residual", "dropout") else 1
        assert cut.elements * ratio == whole_pass.elements
