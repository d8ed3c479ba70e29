"""Bytes that the attention of one layer keeps for the backward pass, of one micro-batch on a rank.

Sources: arXiv 2205.05198, section 4.1 (11 sbh + 5 as^2b); arXiv 2205.14135 (flash attention keeps
its output and a statistic a row); megatron-core 0.16 ``transformer/attention.py``,
``dot_product_attention.py``, ``multi_latent_attention.py``, whose saved tensors the tests count.
"""

from llmtrain.config.model import Mla
from llmtrain.planner.numeric import Quantity
from llmtrain.planner.setting import Setting

FLASH_STATISTIC = 4
"""Bytes a row of the logarithm of the softmax's sum, fp32 (arXiv 2205.14135, section 3.1)."""


def attention(setting: Setting) -> Quantity:
    """Everything between the norm and the residual sum, dropout behind it left out."""
    return core_inputs(setting) + core(setting) + _output(setting)


def core_inputs(setting: Setting) -> Quantity:
    """Queries, keys and values, and what they were made of."""
    model = setting.model
    if model.mla is not None:
        return _latent(setting, model.mla)
    queries, keys = _heads(setting)
    if _repeats(setting):
        return 3 * queries + _tables(setting, rotated(setting))
    # Values are a view into the joint projection, so it stays whole; rotated queries and keys are
    # new tensors, and queries of grouped heads are copied together.
    joint = queries + 2 * keys
    if model.positions == "rope":
        return joint + queries + keys + _tables(setting, rotated(setting))
    return joint + (queries if model.kv_head_count < model.heads else 0)


def _heads(setting: Setting) -> tuple[Quantity, Quantity]:
    """Bytes of the queries and of the keys of a rank."""
    model = setting.model
    one = setting.tokens * model.head_size * setting.width / setting.layout.tp
    return one * model.heads, one * model.kv_head_count


def _repeats(setting: Setting) -> bool:
    """Unfused attention repeats grouped keys and values; only the repeated ones are kept."""
    grouped = setting.model.kv_head_count < setting.model.heads
    return grouped and not setting.flash and not setting.drops("core_attn")


def rotated(setting: Setting) -> float:
    """Width of a head that is rotated."""
    model = setting.model
    return model.head_size * model.rope_fraction if model.positions == "rope" else 0.0


def _tables(setting: Setting, rotated: float) -> Quantity:
    """Cosines and sines, twice, in the numbers of the activations."""
    rows = setting.model.seq / setting.layout.cp
    return setting.program.rope_tables * 4 * rows * rotated * setting.width


def _latent(setting: Setting, mla: Mla) -> Quantity:
    """Compressed queries, keys and values with their norms, and what is projected from them."""
    ranks = mla.kv_rank + (mla.q_rank or 0)
    stats = (2 if mla.q_rank else 1) * norm_stats(setting)
    numbers = (2 * ranks + mla.rope_dim) * setting.width + ranks * norm_copy(setting)
    compressed = setting.local * (numbers + stats)
    if setting.drops("mla_up_proj"):
        return compressed
    heads = 2 * (mla.nope_dim + mla.rope_dim) + mla.v_dim
    projected = setting.tokens * setting.model.heads * heads * setting.width / setting.layout.tp
    return compressed + projected + _tables(setting, mla.rope_dim)


def norm_stats(setting: Setting) -> float:
    """Bytes of a token that a norm keeps beside its input and output."""
    if setting.model.norm == "rmsnorm":
        return setting.program.rmsnorm_stats
    return setting.program.layernorm_stats or 2.0 * setting.width


def norm_copy(setting: Setting) -> float:
    """Bytes of an element that a norm keeps beside its input and output."""
    if setting.model.norm != "rmsnorm":
        return 0.0
    return max(setting.program.rmsnorm_copy - setting.width, 0.0)


def core(setting: Setting) -> Quantity:
    """What softmax(Q K^T) V keeps beside its inputs and output."""
    if setting.drops("core_attn"):
        return 0
    return scores(setting)


def scores(setting: Setting) -> Quantity:
    """The same where nothing is recomputed: the matrix of scores, or flash attention's rows."""
    model, layout = setting.model, setting.layout
    heads = model.heads / layout.tp
    if setting.flash:
        return setting.tokens * heads * FLASH_STATISTIC
    pairs = setting.tokens * model.seq * heads
    causal = setting.program.causal_mask * model.seq * model.seq / layout.cp
    each = setting.width + setting.program.score_copy
    if model.dropout:
        each += setting.width + (setting.program.mask_bytes or setting.width)
    return pairs * each + causal


def _output(setting: Setting) -> Quantity:
    """What comes out of the core, which the projection back keeps as its input."""
    model = setting.model
    head = model.mla.v_dim if model.mla else model.head_size
    count = setting.tokens * model.heads * head / setting.layout.tp
    # An FP8 product keeps a copy of its own beside the core's output.
    copy = setting.input_width if setting.input_width < setting.width else 0
    return count * (setting.width + copy)
