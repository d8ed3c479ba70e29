"""Floating point operations by operator, and the field's ways of counting them.

A *count* of a step says how many operations of what are counted: full or causal attention, with
(hardware) or without (model) what recompute computes again. ``CONVENTIONS`` names those that
published TFLOP/s figures use; :func:`seconds_of` turns such a figure back into a step time.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

from llmtrain.config.model import Model
from llmtrain.config.recipe import Recipe
from llmtrain.planner.candidate import Candidate, Stages
from llmtrain.planner.operators import Part, dense_layer, head, moe_layer, prediction
from llmtrain.planner.parameters import active_parameters

Attention = Literal["full", "causal"]
"""full: the whole square of query and key; causal: the half below the diagonal."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerFlops:
    """Operations of one sequence through one layer, forward."""

    gemm: float
    """Products with weights."""
    core: float
    """The attention core, counted in full."""
    selective: float
    """What selective recompute computes again, its core in full."""

    def forward(self, attention: Attention) -> float:
        """Products and core."""
        return self.gemm + self.core * (1.0 if attention == "full" else 0.5)


@dataclass(frozen=True, kw_only=True, slots=True)
class StepFlops:
    """Operations of one step of the whole job."""

    forward: float
    """Forward pass."""
    backward: float
    """Backward pass: twice the forward pass."""
    recompute: float
    """What is computed again."""

    @property
    def model(self) -> float:
        """Forward and backward."""
        return self.forward + self.backward

    @property
    def hardware(self) -> float:
        """With what is computed again."""
        return self.model + self.recompute


def whole() -> Candidate:
    """Nothing cut, one sequence: the layout in which operations are counted."""
    stages = Stages(
        first_dense=0, first_moe=0, middle_dense=0, middle_moe=0, last_dense=0, last_moe=0
    )
    return Candidate(
        gpus=1, tp=1, pp=1, vpp=1, cp=1, ep=1, etp=1, dp=1, micro=1, microbatches=1,
        stages=stages, sequence=0, full=0, modules=frozenset(), zero=0, pipeline_outermost=1,
        tp_overlap=0, overlap_reduce=0, overlap_gather=0,
    )  # fmt: skip


def layer_flops(part: Part, modules: frozenset[str] = frozenset()) -> LayerFlops:
    """Operations of ``part``, and of what recomputing ``modules`` adds."""
    core = part.core.flops if part.core is not None else 0.0
    again = sum(gemm.flops for gemm in part.gemms if gemm.module and gemm.module in modules)
    again += core if "core_attn" in modules else 0.0
    return LayerFlops(gemm=part.gemm_flops(), core=core, selective=again)


def step_flops(recipe: Recipe, attention: Attention = "full") -> StepFlops:
    """Operations of one step of ``recipe``, embedding look-ups left out, logits counted in."""
    model, recompute = _padded(recipe), recipe.recompute
    modules = frozenset(recompute.modules if recompute.kind == "selective" else ())
    layers = _layers(model, modules)
    share = 1.0 if attention == "full" else 0.5
    ends = layer_flops(head(model, whole())).gemm + _predictions(model, share)
    forward = sum(count * flops.forward(attention) for count, flops in layers)
    again = 0.0
    for count, flops in layers:
        if recompute.kind == "full":
            again += count * flops.forward(attention) * _recomputed(recipe)
        core = flops.core if "core_attn" in modules else 0.0
        again += count * (flops.selective - core * (1.0 - share))
    batch = recipe.batch.global_
    return StepFlops(
        forward=batch * (forward + ends),
        backward=batch * 2.0 * (forward + ends),
        recompute=batch * again,
    )


def _padded(recipe: Recipe) -> Model:
    """The model with the vocabulary that the recipe's layout pads it to."""
    vocab = recipe.model.padded_vocab(recipe.parallel.tp)
    return replace(recipe.model, vocab=vocab, vocab_multiple=1)


def _recomputed(recipe: Recipe) -> float:
    if recipe.recompute.method == "uniform":
        return 1.0
    chunk = recipe.model.layers / (recipe.parallel.pp * recipe.parallel.vpp)
    return min(1.0, recipe.recompute.layers / chunk)


def _layers(model: Model, modules: frozenset[str]) -> list[tuple[int, LayerFlops]]:
    alone = whole()
    moe = sum(model.is_moe_layer(number) for number in range(model.layers))
    found = [(model.layers - moe, layer_flops(dense_layer(model, alone), modules))]
    if moe:
        found.append((moe, layer_flops(moe_layer(model, alone), modules)))
    return found


def _predictions(model: Model, share: float) -> float:
    if not model.mtp:
        return 0.0
    one = layer_flops(prediction(model, whole()))
    return model.mtp * (one.gemm + one.core * share)


def six_n(recipe: Recipe) -> float:
    """6 x parameters x tokens, no attention core (Kaplan et al., arXiv 2001.08361, section 2.1)."""
    tokens = recipe.batch.global_ * recipe.model.seq
    return 6.0 * active_parameters(recipe) * tokens


def six_n_and_attention(recipe: Recipe) -> float:
    """6 N + 12 layers x hidden x sequence, a token (PaLM, arXiv 2204.02311, appendix B)."""
    model = recipe.model
    core = 12.0 * model.layers * model.heads * model.head_size * model.seq
    return six_n(recipe) + core * recipe.batch.global_ * model.seq


def narayanan(recipe: Recipe) -> float:
    """96 B s l h^2 (1 + s/6h + V/16lh): with full recompute (arXiv 2104.04473, equation 3)."""
    return _gpt(recipe, 96.0, 6.0, 16.0)


def korthikanti(recipe: Recipe) -> float:
    """72 B s l h^2 (1 + s/6h + V/12lh): no recompute (arXiv 2205.05198, appendix A)."""
    return _gpt(recipe, 72.0, 6.0, 12.0)


def korthikanti_hardware(recipe: Recipe) -> float:
    """72 B s l h^2 (1 + s/3h + V/12lh): with selective recompute, as the same appendix counts it.

    It counts all three passes of the attention core again, where only the forward pass runs.
    """
    return _gpt(recipe, 72.0, 3.0, 12.0)


def _gpt(recipe: Recipe, factor: float, core: float, logits: float) -> float:
    """GPT with 4 h wide feed-forward; the vocabulary as padded."""
    model, batch = recipe.model, recipe.batch.global_
    layers, hidden, seq = model.layers, model.hidden, model.seq
    vocab = model.padded_vocab(recipe.parallel.tp)
    inner = 1 + seq / (core * hidden) + vocab / (logits * layers * hidden)
    return factor * batch * seq * layers * hidden**2 * inner


def model_full(recipe: Recipe) -> float:
    """By operator, no recompute, full attention."""
    return step_flops(recipe, "full").model


def model_causal(recipe: Recipe) -> float:
    """By operator, no recompute, causal attention (Megatron-LM's ``num_floating_point_operations``
    of 2025, Megatron-Bridge)."""
    return step_flops(recipe, "causal").model


def hardware_full(recipe: Recipe) -> float:
    """By operator, with what is computed again, full attention."""
    return step_flops(recipe, "full").hardware


def hardware_causal(recipe: Recipe) -> float:
    """By operator, with what is computed again, causal attention."""
    return step_flops(recipe, "causal").hardware


def eight_n(recipe: Recipe) -> float:
    """By operator with full recompute, whatever the recipe recomputes (Megatron-DeepSpeed)."""
    flops = step_flops(recipe, "full")
    return flops.model + flops.forward


CONVENTIONS: MappingProxyType[str, Callable[[Recipe], float]] = MappingProxyType(
    {
        "6n": six_n,
        "6n_attention": six_n_and_attention,
        "narayanan": narayanan,
        "korthikanti": korthikanti,
        "korthikanti_hardware": korthikanti_hardware,
        "megatron": model_full,
        "model_full": model_full,
        "model_causal": model_causal,
        "hardware_full": hardware_full,
        "hardware_causal": hardware_causal,
        "eight_n": eight_n,
    }
)
"""Name of a way of counting -> operations of one step of the job."""


def seconds_of(recipe: Recipe, tflops_per_gpu: float, convention: str) -> float:
    """The step time behind a published rate: operations / (rate x GPUs)."""
    return CONVENTIONS[convention](recipe) / (tflops_per_gpu * 1e12 * recipe.gpus)
