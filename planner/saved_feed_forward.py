"""Bytes that the feed-forward of one layer keeps for the backward pass, dense or with experts.

Sources: arXiv 2205.05198, section 4.1 (19 sbh with GELU, 8 sbh of them the input of the second
matrix); arXiv 2002.05202 (gates); megatron-core 0.16 ``transformer/mlp.py``, ``moe/router.py``,
``moe/experts.py``, ``fusions/fused_bias_*.py``, whose saved tensors the tests count.
"""

from llmtrain.planner.numeric import Quantity
from llmtrain.planner.setting import Setting


def dense(setting: Setting) -> Quantity:
    """A dense feed-forward, its input left out."""
    if setting.drops("mlp"):
        return 0
    return dense_whole(setting)


def dense_whole(setting: Setting) -> Quantity:
    """The same where nothing is recomputed."""
    model = setting.model
    rows = setting.tokens / setting.layout.tp
    return rows * _between(setting, model.ffn_size, setting.program.gate_copies)


def _between(setting: Setting, ffn: int, copies: float) -> float:
    """Bytes a token between the two matrices, uncut: input and output of the activation."""
    model = setting.model
    inner = {"relu": 0.0}.get(model.activation, 2.0 + copies if model.gated else 1.0)
    return ffn * (inner * setting.width + setting.input_width)


def experts(setting: Setting) -> Quantity:
    """A feed-forward with experts, its input left out."""
    if setting.drops("moe"):
        return 0
    return routed(setting) + shared(setting)


def shared(setting: Setting) -> Quantity:
    """The experts that every token passes."""
    model = setting.model
    if not model.shared_experts or setting.drops("shared_experts"):
        return 0
    rows = setting.tokens / setting.layout.tp
    width = model.shared_experts * model.expert_ffn_size
    return rows * _between(setting, width, setting.program.gate_copies)


def routed(setting: Setting) -> Quantity:
    """Router and routed experts, every expert equally loaded: the tokens of all expert parallel
    ranks, cut over them, so ``topk`` times the rank's own, gathered over expert tensor parallel."""
    model = setting.model
    topk = model.topk or 1
    own = choice_rows(setting)
    rows = own * topk * setting.layout.etp
    ffn = model.expert_ffn_size
    between = _between(setting, ffn, setting.program.expert_gate_copies) / setting.layout.etp
    if setting.drops("moe_act"):
        between = between - ffn * setting.input_width / setting.layout.etp
    weight = setting.width
    dispatched = rows * (model.hidden * setting.input_width + between + weight)
    return dispatched + _router(setting, own, topk)


def choice_rows(setting: Setting) -> Quantity:
    """Tokens that a rank routes: experts need sequence parallel, so they are cut over tp."""
    return setting.tokens / setting.layout.tp


def _router(setting: Setting, own: Quantity, topk: int) -> Quantity:
    """Scores, choices and maps: for each choice two int64 indices and an fp32 weight of the rank's
    tokens and an int64 place; for each expert an fp32 score, a flag and a weight."""
    experts, etp = setting.model.experts or 0, setting.layout.etp
    scores = 20 * topk + 4 * experts
    maps = 8 * topk + (1 + setting.width) * experts
    return own * (scores + etp * maps)
