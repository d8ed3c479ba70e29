"""Arguments of the Megatrons to recompute and kernels."""

from llmtrain.launchers.importing.reading import Keys, Reading


def recompute_keys(r: Reading) -> Keys:
    """``recompute.*``."""
    kind = r.get("--recompute-granularity", "--activations-checkpoint-granularity")
    method = r.get("--recompute-method", "--activations-checkpoint-method")
    layers = r.get("--recompute-num-layers", "--activations-checkpoint-num-layers")
    r.has("--deepspeed-activation-checkpointing", "--distribute-saved-activations")
    if r.get("--recompute-activations"):
        kind = kind or "selective"
    if r.get("--checkpoint-activations"):
        return {"kind": "full", "layers": r.get("--checkpoint-num-layers") or 1}
    if kind is None and method:
        kind = "full"
    if kind == "selective":
        modules = r.words("--recompute-modules")
        return {"kind": "selective", "modules": list(modules or ("core_attn",))}
    if kind == "full":
        return {"kind": "full", "method": method or "uniform", "layers": layers or 1}
    return {"kind": "none"}


def kernel_keys(r: Reading) -> Keys:
    """``kernels.*``."""
    kind = str(r.get("--attention-backend") or "auto").rpartition(".")[2]
    deepspeed = r.table.program == "megatron-deepspeed"
    if r.get("--use-flash-attn-v2") or r.get("--use-flash-attn"):
        kind = "flash"
    elif deepspeed:
        kind = "auto"
    if kind not in ("auto", "unfused", "flash", "fused"):
        r.note("--attention-backend", "recipes have auto, unfused, flash and fused")
        kind = "auto"
    graphs = r.get("--cuda-graph-impl") not in (None, "none") or r.get("--enable-cuda-graph")
    graphs = graphs or r.get("--external-cuda-graph")
    if graphs:
        r.has("--te-rng-tracker", "--cuda-graph-scope", "--cuda-graph-warmup-steps")
    return {
        "attention": kind,
        "tp_overlap": bool(r.get("--tp-comm-overlap")),
        "cuda_graphs": bool(graphs),
        "dispatcher": "deepep" if r.get("--moe-enable-deepep") else "alltoall",
    }
