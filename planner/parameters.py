"""Parameters of every rank, stage and model, exactly as megatron-core builds them.

Sources: megatron-core 0.16 ``models/gpt/gpt_model.py``, ``transformer/attention.py``,
``transformer/mlp.py``, ``transformer/moe``, ``transformer/multi_latent_attention.py``. The tests
hold these numbers against megatron-core's own modules built on the meta device.
"""

from dataclasses import dataclass

from llmtrain.config.layout import stage_layers
from llmtrain.config.model import Mla, Model
from llmtrain.config.recipe import Recipe


@dataclass(frozen=True, kw_only=True, slots=True)
class Count:
    """Parameters of some part of the model."""

    dense: int = 0
    """Parameters that data parallel replicas share."""
    expert: int = 0
    """Parameters of routed experts, which expert data parallel replicas share."""

    def __add__(self, other: "Count") -> "Count":
        return Count(dense=self.dense + other.dense, expert=self.expert + other.expert)

    def __mul__(self, times: int) -> "Count":
        return Count(dense=self.dense * times, expert=self.expert * times)

    @property
    def total(self) -> int:
        """Both together."""
        return self.dense + self.expert


@dataclass(frozen=True, kw_only=True, slots=True)
class Cut:
    """Over how many ranks a weight matrix is cut."""

    tp: int = 1
    """Tensor parallel."""
    ep: int = 1
    """Expert parallel."""
    etp: int = 1
    """Expert tensor parallel."""


WHOLE = Cut()
"""Nothing is cut: the distinct parameters."""


def cut_of(recipe: Recipe) -> Cut:
    """How the recipe cuts its matrices."""
    parallel = recipe.parallel
    return Cut(tp=parallel.tp, ep=parallel.ep, etp=parallel.expert_tp)


def norm(model: Model, width: int) -> int:
    """A norm over ``width``: a scale, and a shift unless it is RMSNorm."""
    return width if model.norm == "rmsnorm" else 2 * width


def attention(model: Model, tp: int) -> int:
    """Self-attention of one layer on one of ``tp`` ranks, its norm not counted.

    Query, key and value projections are cut by output, so their biases are cut; the projection
    back is cut by input, so its bias is whole on every rank.
    """
    if model.mla is not None:
        return _latent_attention(model, model.mla, tp)
    query = model.heads * model.head_size
    inner = query + 2 * model.kv_head_count * model.head_size
    biases = inner // tp if model.bias or model.qkv_bias else 0
    back = query // tp * model.hidden + (model.hidden if model.bias else 0)
    return model.hidden * inner // tp + biases + back


def _latent_attention(model: Model, mla: Mla, tp: int) -> int:
    """The down projections are whole on every rank, the up projections cut by heads.

    Whole down projections are Transformer Engine's ("duplicated"); only the projection back has a
    bias.
    """
    query = model.heads * (mla.nope_dim + mla.rope_dim)
    if mla.q_rank is None:
        queries = model.hidden * query // tp
    else:
        queries = model.hidden * mla.q_rank + norm(model, mla.q_rank) + mla.q_rank * query // tp
    down = model.hidden * (mla.kv_rank + mla.rope_dim) + norm(model, mla.kv_rank)
    up = mla.kv_rank * model.heads * (mla.nope_dim + mla.v_dim) // tp
    back = model.heads * mla.v_dim // tp * model.hidden + (model.hidden if model.bias else 0)
    return queries + down + up + back


def feed_forward(model: Model, width: int, tp: int) -> int:
    """A feed-forward of ``width`` on one of ``tp`` ranks; a gate doubles the first matrix."""
    first = width * (2 if model.gated else 1) // tp
    biases = first + model.hidden if model.bias else 0
    return model.hidden * first + width // tp * model.hidden + biases


def layer(model: Model, number: int, cut: Cut) -> Count:
    """Layer ``number`` (from 0) on one rank, with its two norms."""
    dense = attention(model, cut.tp) + 2 * norm(model, model.hidden)
    if not model.is_moe_layer(number):
        return Count(dense=dense + feed_forward(model, model.ffn_size, cut.tp))
    experts = model.experts or 0
    dense += model.hidden * experts + (experts if model.bias else 0)  # the router
    if model.shared_experts:
        dense += feed_forward(model, model.shared_experts * model.expert_ffn_size, cut.tp)
    one = feed_forward(model, model.expert_ffn_size, cut.etp)
    return Count(dense=dense, expert=experts // cut.ep * one)


def embedding_matrix(recipe: Recipe) -> int:
    """Rows x columns of the padded input or output embedding, not cut."""
    return recipe.model.padded_vocab(recipe.parallel.tp) * recipe.model.hidden


def embedding(recipe: Recipe, tp: int) -> int:
    """What stands before the first layer: words, learned positions, BLOOM's norm."""
    model = recipe.model
    positions = model.seq * model.hidden if model.positions == "learned" else 0
    extra = norm(model, model.hidden) if model.embedding_norm else 0
    return embedding_matrix(recipe) // tp + positions + extra


def prediction(recipe: Recipe, cut: Cut) -> Count:
    """Multi-token prediction: per depth two norms, a projection of 2 x hidden, a layer, a norm.

    The projection is cut by output.
    """
    model = recipe.model
    joined = 3 * norm(model, model.hidden) + 2 * model.hidden * model.hidden // cut.tp
    one = Count(dense=joined) + layer(model, model.layers - 1, cut)
    return one * model.mtp


def rank_parameters(recipe: Recipe, stage: int) -> Count:
    """Parameters of one rank of ``stage`` (from 0).

    With tied embeddings and more than one stage the last stage holds a second copy of the matrix,
    and one of the whole embedding for multi-token prediction.
    """
    last, cut = recipe.parallel.pp - 1, cut_of(recipe)
    numbers = [number for chunk in stage_layers(recipe)[stage] for number in chunk]
    found = Count()
    for number in numbers:
        found += layer(recipe.model, number, cut)
    if stage == 0:
        found += Count(dense=embedding(recipe, cut.tp))
    if _has_final_norm(recipe, stage, numbers):
        found += Count(dense=norm(recipe.model, recipe.model.hidden))
    if stage == last:
        found += _end(recipe, cut, copied=stage > 0)
    return found


def _has_final_norm(recipe: Recipe, stage: int, numbers: list[int]) -> bool:
    """The last stage has the final norm; with multi-token prediction the one of the last layer.

    Source: megatron-core ``transformer_block.py`` (``has_final_layernorm_in_this_stage``).
    """
    if recipe.model.mtp:
        return recipe.model.layers - 1 in numbers
    return stage == recipe.parallel.pp - 1


def _end(recipe: Recipe, cut: Cut, *, copied: bool) -> Count:
    """What stands behind the final norm; ``copied``: apart from the embedding."""
    model = recipe.model
    found = prediction(recipe, cut)
    if copied and model.mtp:
        found += Count(dense=embedding(recipe, cut.tp))
    if copied or not model.tied:
        found += Count(dense=embedding_matrix(recipe) // cut.tp)
    return found


def stage_parameters(recipe: Recipe, stage: int) -> int:
    """Parameters of a stage: summed over its tensor parallel ranks, with all its experts."""
    one = rank_parameters(recipe, stage)
    return one.dense * recipe.parallel.tp + one.expert * recipe.parallel.ep * (
        recipe.parallel.expert_tp
    )


def total_parameters(recipe: Recipe) -> int:
    """Distinct parameters: nothing cut, tied embeddings once, the vocabulary padded."""
    model = recipe.model
    layers = sum(layer(model, number, WHOLE).total for number in range(model.layers))
    ends = embedding(recipe, 1) + norm(model, model.hidden)
    return layers + ends + _end(recipe, WHOLE, copied=False).total


def active_parameters(recipe: Recipe) -> int:
    """Distinct parameters that one token passes: of the experts only ``topk`` a layer."""
    model = recipe.model
    if model.experts is None or model.topk is None:
        return total_parameters(recipe)
    moe_layers = sum(model.is_moe_layer(number) for number in range(model.layers)) + model.mtp
    idle = (model.experts - model.topk) * feed_forward(model, model.expert_ffn_size, 1)
    return total_parameters(recipe) - moe_layers * idle
