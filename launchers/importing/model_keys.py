"""Arguments of the Megatrons to ``model.*``: the way back from ``backends/model_arguments.py``."""

import re
from collections.abc import Mapping
from typing import Any

from llmtrain.launchers.backends.data_arguments import COUNTS_EOD
from llmtrain.launchers.importing.reading import Keys, Reading

VOCABULARIES: Mapping[str, int] = {
    "GPT2BPETokenizer": 50257,
    "BertWordPieceLowerCase": 30522,
    "Llama2Tokenizer": 32000,
    "Llama3Tokenizer": 128256,
    "MistralTokenizer": 32000,
}
"""Tokens of tokenizers that have but one vocabulary."""

ROUTER: Mapping[str, tuple[str, ...]] = {
    "--moe-router-load-balancing-type": ("aux_loss", "['aux_loss']", "none", "['none']"),
    "--moe-token-dispatcher-type": ("alltoall", "flex"),
}
"""What ``backends/model_arguments.py`` says of the router where recipes say nothing."""


def model_keys(r: Reading) -> Keys:
    """The whole model."""
    return {
        **_sizes(r),
        **_vocabulary(r),
        **_experts(r),
        **_feed_forward(r),
        **_norms(r),
        **_positions(r),
        **_latent(r),
        "tied": not r.get("--untie-embeddings-and-output-weights"),
        "mtp": r.get("--mtp-num-layers") or 0,
        "dropout": _dropout(r),
        "init_std": r.get("--init-method-std"),
        "embedding_norm": r.has("--embed-layernorm", "--embedding-layernorm"),
    }


def _sizes(r: Reading) -> Keys:
    hidden, heads = r.get("--hidden-size"), r.get("--num-attention-heads")
    r.get("--max-position-embeddings")
    grouped = r.get("--group-query-attention") or r.has("--num-key-value-heads")
    groups = r.get("--num-key-value-heads") or r.get("--num-query-groups")
    width = r.get("--kv-channels")
    latent = r.get("--multi-latent-attention")
    even = hidden // heads if hidden and heads else None
    return {
        "layers": r.get("--num-layers"),
        "hidden": hidden,
        "heads": heads,
        "kv_heads": groups if grouped and groups != heads else None,
        "seq": r.get("--seq-length", "--encoder-seq-length"),
        "head_dim": None if latent or width == even else width,
    }


def _vocabulary(r: Reading) -> Keys:
    kind = r.get("--tokenizer-type")
    given = r.get("--vocab-size", "--padded-vocab-size")
    if kind == "NullTokenizer" and given is not None:
        given += 0 if COUNTS_EOD in r.table else 1
    padded = r.get("--pad-vocab-size-to")
    r.has("--vocab-file", "--merge-file")
    # A size that is padded by hand is padded already.
    vocab = int(padded) if padded else given or VOCABULARIES.get(str(kind))
    return {"vocab": vocab, "vocab_multiple": r.get("--make-vocab-size-divisible-by")}


def _feed_forward(r: Reading) -> Keys:
    activation = "gelu"
    glu = r.get("--glu-activation")
    for flag, name in (("--squared-relu", "relu2"), ("--quick-geglu", "geglu")):
        activation = name if r.get(flag) else activation
    activation = "swiglu" if r.get("--swiglu") or glu == "swiglu" else activation
    activation = "geglu" if glu == "geglu" else activation
    hidden, given = r.get("--hidden-size"), r.get("--ffn-hidden-size")
    if given is None and activation == "swiglu" and hidden:
        # ``validate_args``: two thirds of 4 x hidden, in multiples of 64.
        given = int((4 * hidden * 2 / 3) / 64) * 64
    return {
        "activation": activation,
        "ffn": given,
        "bias": bool(r.get("--disable-bias-linear")),
        "qkv_bias": bool(r.get("--add-qkv-bias")) and not r.get("--disable-bias-linear"),
    }


def _norms(r: Reading) -> Keys:
    kind = str(r.get("--normalization") or "LayerNorm").lower()
    norm = "layernorm1p" if r.get("--apply-layernorm-1p") else kind
    return {"norm": norm, "norm_eps": r.get("--norm-epsilon", "--layernorm-epsilon")}


def _positions(r: Reading) -> Keys:
    kind = r.get("--position-embedding-type")
    rotary = kind == "rope" or r.get("--use-rotary-position-embeddings")
    named = {"learned_absolute": "learned", "absolute": "learned", "none": "none", "alibi": "alibi"}
    positions = "rope" if rotary else named.get(str(kind), "learned")
    # With rotary positions by their own flag this only says that there are no learned ones.
    dropped = r.has("--no-position-embedding")
    if dropped and not rotary and kind in (None, "learned_absolute"):
        positions = "none"
    if kind not in (None, "rope", *named):
        r.note("--position-embedding-type", "recipes have learned, rope, alibi and none")
    base = r.get("--rotary-base", "--rotary-position-embeddings-theta")
    share = r.get("--rotary-percent")
    if positions != "rope":
        return {"positions": positions}
    return {"positions": "rope", "rope_base": base, "rope_fraction": share}


def _experts(r: Reading) -> Keys:
    experts = r.get("--num-experts")
    if isinstance(experts, list):
        # Megatron-DeepSpeed: one number a layer; 1 is a dense model.
        experts = int(experts[0]) if len(experts) == 1 and int(experts[0]) > 1 else None
    if not experts:
        return {}
    for flag, ours in ROUTER.items():
        if r.words(flag) is not None and str(r.get(flag)) not in ours:
            r.note(flag, f"a launch of ours has {ours[0]}")
    r.has("--moe-grouped-gemm")
    width = r.get("--moe-ffn-hidden-size") or r.get("--ffn-hidden-size")
    shared = r.get("--moe-shared-expert-intermediate-size") or 0
    return {
        "experts": experts,
        "topk": r.get("--moe-router-topk", "--topk"),
        "moe_ffn": width,
        "shared_experts": shared // width if width else 0,
        "dense_layers": _dense(r),
        **_aux_loss(r),
    }


def _aux_loss(r: Reading) -> Keys:
    """The balancing loss; Megatron-DeepSpeed's is of another kind and is left over."""
    given = r.get("--moe-aux-loss-coeff")
    if given is None:
        return {}
    number = given[0] if isinstance(given, list) else given
    balanced = "aux_loss" in str(r.get("--moe-router-load-balancing-type"))
    return {"aux_loss": float(number) if balanced else 0.0}


def _dense(r: Reading) -> int:
    """Leading dense layers of ``([0]*3+[1]*58)``; other patterns have no place."""
    text = str(r.get("--moe-layer-freq") or "1").replace(" ", "")
    found = re.fullmatch(r"\(?\[0\]\*(\d+)\+\[1\]\*\d+\)?", text)
    if found:
        return int(found[1])
    if text != "1":
        r.note("--moe-layer-freq", "recipes have dense layers at the beginning alone")
    return 0


def _latent(r: Reading) -> Keys:
    if not r.get("--multi-latent-attention"):
        return {}
    if not r.has("--qk-layernorm"):
        r.note("--multi-latent-attention", "a launch of ours has --qk-layernorm with it")
    return {
        "mla": {
            "q_rank": r.get("--q-lora-rank"),
            "kv_rank": r.get("--kv-lora-rank"),
            "nope_dim": r.get("--qk-head-dim"),
            "rope_dim": r.get("--qk-pos-emb-head-dim"),
            "v_dim": r.get("--v-head-dim"),
        }
    }


def _dropout(r: Reading) -> Any:
    attention, residual = r.get("--attention-dropout"), r.get("--hidden-dropout")
    if attention != residual:
        r.note("--attention-dropout", "recipes have one dropout: that of --hidden-dropout")
    return residual
