"""The model as arguments of Megatron-LM's ``pretrain_gpt.py``, one function a concern."""

from llmtrain.config.model import Model
from llmtrain.config.recipe import Recipe
from llmtrain.launchers.backends.arguments import Arguments


def sizes(recipe: Recipe) -> Arguments:
    """Layers, widths and heads."""
    model = recipe.model
    return {
        "--num-layers": model.layers,
        "--hidden-size": model.hidden,
        "--ffn-hidden-size": model.ffn_size,
        "--num-attention-heads": model.heads,
        "--seq-length": model.seq,
        # Learned positions have so many rows; other kinds only have to reach that far.
        "--max-position-embeddings": model.seq,
    }


def attention(recipe: Recipe) -> Arguments:
    """Width and groups of heads; latent attention has neither groups nor a common width."""
    model = recipe.model
    if model.mla is not None:
        return {}
    grouped = model.kv_head_count != model.heads
    return {
        "--kv-channels": model.head_dim,
        "--group-query-attention": grouped,
        "--num-query-groups": model.kv_head_count if grouped else None,
    }


def latent_attention(recipe: Recipe) -> Arguments:
    """Multi-head latent attention.

    ``--qk-layernorm`` gives the norms behind the compressed query, keys and values
    (arXiv 2405.04434, section 3.1.2). Its rotary positions are YaRN with a factor of 1, which is
    plain RoPE; plain RoPE by name would have no fused kernel (``MLATransformerConfig``).
    """
    mla = recipe.model.mla
    if mla is None:
        return {}
    return {
        "--multi-latent-attention": True,
        "--q-lora-rank": mla.q_rank,
        "--kv-lora-rank": mla.kv_rank,
        "--qk-head-dim": mla.nope_dim,
        "--qk-pos-emb-head-dim": mla.rope_dim,
        "--v-head-dim": mla.v_dim,
        # Only latent attention's own widths count, but the parser wants hidden / heads to divide.
        "--kv-channels": mla.v_dim,
        "--qk-layernorm": True,
    }


def feed_forward(recipe: Recipe) -> Arguments:
    """The activation; GELU is what Megatron does without a flag.

    Quick GeGLU (the gate is x sigmoid(1.702 x)) approximates GeGLU; ``inexpressible`` lets it pass
    only with ``backend.approximate``.
    """
    activation = recipe.model.activation
    return {
        "--swiglu": activation == "swiglu",
        "--squared-relu": activation == "relu2",
        "--quick-geglu": activation == "geglu",
    }


def norms_and_biases(recipe: Recipe) -> Arguments:
    """Which norm, and where there are biases."""
    model = recipe.model
    return {
        "--normalization": "RMSNorm" if model.norm == "rmsnorm" else "LayerNorm",
        "--norm-epsilon": model.norm_eps,
        "--apply-layernorm-1p": model.norm == "layernorm1p",
        "--disable-bias-linear": not model.bias,
        "--add-qkv-bias": model.qkv_bias and not model.bias,
    }


def positions(recipe: Recipe) -> Arguments:
    """How a token knows its place."""
    model = recipe.model
    if model.positions != "rope":
        learned = model.positions == "learned"
        return {"--position-embedding-type": "learned_absolute" if learned else "none"}
    return {
        "--position-embedding-type": "rope",
        "--rotary-base": int(model.rope_base),
        "--rotary-percent": model.rope_fraction,
    }


def initial_state(recipe: Recipe) -> Arguments:
    """Embeddings, initial weights and dropout."""
    model = recipe.model
    return {
        "--untie-embeddings-and-output-weights": not model.tied,
        "--make-vocab-size-divisible-by": model.vocab_multiple,
        "--init-method-std": model.init_std,
        "--attention-dropout": model.dropout,
        "--hidden-dropout": model.dropout,
    }


def experts(recipe: Recipe) -> Arguments:
    """Mixture of experts, their router balanced by an auxiliary loss or not at all."""
    model = recipe.model
    if model.experts is None:
        return {}
    shared = model.shared_experts * model.expert_ffn_size
    deepep = recipe.kernels.dispatcher == "deepep"
    return {
        "--num-experts": model.experts,
        "--moe-router-topk": model.topk,
        "--moe-ffn-hidden-size": model.expert_ffn_size,
        "--moe-shared-expert-intermediate-size": shared or None,
        "--moe-layer-freq": _layer_pattern(model),
        "--moe-router-load-balancing-type": "aux_loss" if model.aux_loss else "none",
        "--moe-aux-loss-coeff": model.aux_loss or None,
        "--moe-token-dispatcher-type": "flex" if deepep else "alltoall",
        "--moe-enable-deepep": deepep,
        # Its kernels are for 16-bit numbers; v0.12.0rc3 takes bf16 alone.
        "--moe-grouped-gemm": recipe.precision.kind in ("bf16", "fp8"),
    }


def _layer_pattern(model: Model) -> str | None:
    """Which layers have experts, as the Python expression that ``--moe-layer-freq`` evaluates."""
    if not model.dense_layers:
        return None
    return f"([0]*{model.dense_layers}+[1]*{model.layers - model.dense_layers})"


def multi_token_prediction(recipe: Recipe) -> Arguments:
    """Depth of multi-token prediction."""
    return {"--mtp-num-layers": recipe.model.mtp or None}
