"""Bytes that one micro-batch leaves on a rank for the backward pass: layers, embedding, loss.

Source: arXiv 2205.05198, sections 4 and 5. The tests hold these numbers against the tensors that
autograd really saves in megatron-core's layers.
"""

from dataclasses import dataclass

from llmtrain.planner.numeric import Quantity, choose, largest, rounded_up, smallest
from llmtrain.planner.saved_attention import (
    attention,
    core_inputs,
    norm_copy,
    norm_stats,
    rotated,
    scores,
)
from llmtrain.planner.saved_feed_forward import dense, dense_whole, experts, routed, shared
from llmtrain.planner.setting import Setting


@dataclass(frozen=True, kw_only=True, slots=True)
class Chunk:
    """The layers of one chunk of a stage."""

    dense: Quantity = 0
    """Layers with a dense feed-forward; they come first."""
    moe: Quantity = 0
    """Layers with experts."""

    @property
    def layers(self) -> Quantity:
        """Both kinds."""
        return self.dense + self.moe


def layer(setting: Setting, *, moe: bool) -> Quantity:
    """One layer that is not recomputed whole."""
    feed_forward = experts(setting) if moe else dense(setting)
    norms = 2 * norm(setting)
    return norms + attention(setting) + feed_forward + 2 * dropout_mask(setting)


def norm(setting: Setting) -> Quantity:
    """A norm: its input, which is the residual stream, its output and its statistics."""
    if setting.drops("layernorm"):
        return setting.hidden
    return setting.hidden + norm_extra(setting)


def norm_extra(setting: Setting) -> Quantity:
    """What a norm keeps beside its input."""
    model, program = setting.model, setting.program
    output = setting.hidden * setting.input_width / setting.width
    if program.gathers_norm:
        output = output * setting.tokens / setting.local
    copy = model.hidden * norm_copy(setting)
    return output + setting.local * (norm_stats(setting) + copy)


def dropout_mask(setting: Setting) -> Quantity:
    """The mask of one dropout of the residual stream."""
    if not setting.model.dropout:
        return 0
    width = setting.program.mask_bytes or setting.width
    return setting.local * setting.model.hidden * width


def chunk(setting: Setting, held: Chunk) -> Quantity:
    """All layers of a chunk, after whatever is recomputed has been dropped."""
    recomputed = setting.recomputed
    kept = held.dense * layer(setting, moe=False) + _moe(setting, held.moe)
    groups = rounded_up(held.layers / recomputed.layers)
    uniform = groups * setting.hidden
    full = choose(recomputed.block, _block(setting, held), uniform) + rotary(setting)
    return choose(recomputed.full, full, kept)


def rotary(setting: Setting) -> Quantity:
    """The fp32 angles that every recomputed layer is given, kept once."""
    return 4 * setting.model.seq * rotated(setting)


def _moe(setting: Setting, layers: Quantity) -> Quantity:
    return 0 if setting.model.experts is None else layers * layer(setting, moe=True)


def _block(setting: Setting, held: Chunk) -> Quantity:
    """The first layers keep their input, the others everything."""
    dropped = smallest(setting.recomputed.layers, held.layers)
    whole_moe = smallest(held.moe, held.layers - dropped)
    whole_dense = held.layers - dropped - whole_moe
    kept = whole_dense * layer(setting, moe=False) + _moe(setting, whole_moe)
    return kept + dropped * setting.hidden


def embedding(setting: Setting) -> Quantity:
    """Tokens, places, the mask of dropout; a norm behind the embedding."""
    model, layout = setting.model, setting.layout
    tokens = setting.layout.micro * model.seq / layout.cp
    places = 8 * model.seq / layout.cp if model.positions == "learned" else 0
    out_of_range = tokens * choose(layout.tp > 1, 1, 0)
    extra = setting.hidden + norm_extra(setting) if model.embedding_norm else 0
    return 8 * tokens + places + out_of_range + dropout_mask(setting) + extra


def head(setting: Setting) -> Quantity:
    """The last norm, the output layer's input, and what the loss keeps."""
    final = setting.hidden + norm_extra(setting)
    # The targets and which of them lie on other ranks.
    return final + logits(setting) * setting.program.logit_saved + 9 * setting.tokens


def logits(setting: Setting) -> Quantity:
    """Logits of a rank."""
    tp = setting.layout.tp
    cut = 1 if setting.program.whole_logits else tp
    multiple = setting.model.vocab_multiple * tp
    return setting.tokens * rounded_up(setting.model.vocab / multiple) * multiple / cut


def recomputed_peak(setting: Setting, *, moe: bool) -> Quantity:
    """What recompute brings back at once: a module of one layer, or whole layers."""
    whole = setting.recomputed
    selective = _dropped(setting, moe=moe)
    group = choose(whole.block, 1, whole.layers)
    return choose(whole.full, group * layer(setting, moe=moe), selective)


def _dropped(setting: Setting, *, moe: bool) -> Quantity:
    """The largest module that selective recompute drops from a layer."""
    back: Quantity = 0
    if setting.drops("core_attn"):
        back = largest(back, scores(setting))
    if setting.drops("mlp") and not moe:
        back = largest(back, dense_whole(setting))
    if setting.drops("moe") and moe:
        back = largest(back, routed(setting) + shared(setting))
    if setting.drops("layernorm"):
        back = largest(back, norm_extra(setting))
    return back


def gradients(setting: Setting, *, moe: bool) -> Quantity:
    """Gradients that the backward pass of one layer holds at once: those of the feed-forward or
    those of the attention, and of the residual stream."""
    model, layout = setting.model, setting.layout
    stream = 2 * setting.hidden
    gathered = 2 * setting.tokens * model.hidden * setting.width
    inner = routed(setting) if moe else dense_whole(setting)
    heads = core_inputs(setting) if model.mla is None else 0
    square = 0 if setting.flash else 2 * _pairs(setting) * setting.width
    largest_part = largest(inner, heads + square)
    return stream + largest_part + choose(layout.sequence, gathered, 0)


def _pairs(setting: Setting) -> Quantity:
    return setting.tokens * setting.model.seq * setting.model.heads / setting.layout.tp
