"""Which attention a recipe's program really runs."""

from llmtrain.config.recipe import Recipe


def is_unfused(recipe: Recipe) -> bool:
    """Whether a layer makes the whole matrix of scores: as asked, or as the program chooses.

    Megatron-DeepSpeed runs flash attention on request only (``--use-flash-attn-v2``), as did
    Megatron-LM before Transformer Engine. That one's flash and fused kernels take 16 and 8 bits
    alone (``get_attention_backend`` in its ``attention/dot_product_attention/utils.py``); torch's,
    which the reference trainer has on a CPU, take any.
    """
    asked, backend = recipe.kernels.attention, recipe.backend
    if asked != "auto":
        return asked == "unfused"
    before = (backend.version or "").startswith(("v2", "v3"))
    if backend.name == "megatron-deepspeed" or (backend.name == "megatron-lm" and before):
        return True
    return needs_unfused(recipe)


def needs_unfused(recipe: Recipe) -> bool:
    """Whether no other kernel takes the numbers: fp32 on a GPU."""
    return recipe.precision.kind == "fp32" and recipe.cluster.device != "cpu"
