"""The operators of a layer and of the ends of the model: shapes and bytes on one rank.

Everything is of one micro-batch on one rank. Matrix products are named by their forward shape
m x k by k x n; the two products of the backward pass follow from it. Memory-bound work is given in
elements; how many bytes an element costs is the stack's (its data file).

Sources: Megatron-LM (arXiv 1909.08053, section 3), sequence parallelism (arXiv 2205.05198,
section 4), megatron-core ``transformer/attention.py``, ``mlp.py``, ``moe/``,
``multi_latent_attention.py``.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from llmtrain.config.model import Mla, Model
from llmtrain.planner.candidate import Candidate
from llmtrain.planner.numeric import Quantity, choose, rounded_up


@dataclass(frozen=True, kw_only=True, slots=True)
class Gemm:
    """A product with a weight matrix."""

    name: str
    """Which."""
    m: Quantity
    """Rows: tokens."""
    n: Quantity
    """Columns: outputs."""
    k: Quantity
    """Summed over: inputs."""
    count: Quantity = 1
    """How many of them (experts of a rank)."""
    numbers: str = "matmul"
    """matmul: those of the recipe's precision; bf16: never FP8."""
    module: str = ""
    """Selective recompute's name of the module around it."""
    normed: bool = False
    """Its input comes straight from a norm, which can write it in FP8."""

    @property
    def flops(self) -> Quantity:
        """Of the forward pass; the backward pass takes twice as many."""
        return 2.0 * self.m * self.n * self.k * self.count

    @property
    def weights(self) -> Quantity:
        """Parameters of the matrix."""
        return self.n * self.k * self.count


@dataclass(frozen=True, kw_only=True, slots=True)
class Core:
    """Softmax(Q K^T) V."""

    batch: Quantity
    """Sequences x heads of the rank."""
    queries: Quantity
    """Tokens of a sequence on the rank."""
    keys: Quantity
    """Tokens that a query is compared with, without a mask."""
    key_dim: int
    """Width of a query and key head."""
    value_dim: int
    """Width of a value head."""
    dropout: bool = False
    """Some of the weights are dropped."""

    @property
    def flops(self) -> Quantity:
        """Of the forward pass over the full square; a causal mask needs half of them."""
        return 2.0 * self.pairs * (self.key_dim + self.value_dim)

    @property
    def pairs(self) -> Quantity:
        """Elements of the attention matrix."""
        return self.batch * self.queries * self.keys


@dataclass(frozen=True, kw_only=True, slots=True)
class Pass:
    """A memory-bound pass over a tensor; ``kind`` is looked up in the stack."""

    kind: str
    """norm, residual, dropout, activation, gated, layout, rope, router, permute, expert_bias, loss
    or embedding."""
    elements: Quantity
    """How many."""
    module: str = ""
    """Selective recompute's name of the module around it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """A layer, or an end of the model, on one rank."""

    gemms: tuple[Gemm, ...] = ()
    """Products with weights."""
    core: Core | None = None
    """The attention core."""
    passes: tuple[Pass, ...] = ()
    """Memory-bound passes."""

    def gemm_flops(self) -> Quantity:
        """Of the forward pass, the attention core left out."""
        return sum((gemm.flops for gemm in self.gemms), 0.0)


def tokens(model: Model, layout: Candidate) -> Quantity:
    """Tokens of a micro-batch on one rank."""
    return layout.micro * model.seq / layout.cp


def dense_layer(model: Model, layout: Candidate) -> Part:
    """Attention and a dense feed-forward."""
    width, count = model.ffn_size, tokens(model, layout)
    attention = attention_block(model, layout)
    forward = tuple(_feed_forward(model, count, width, layout.tp, "mlp"))
    acting = _activation(model, count * width / layout.tp, "mlp")
    return Part(
        gemms=attention.gemms + forward,
        core=attention.core,
        passes=(*attention.passes, acting),
    )


def moe_layer(model: Model, layout: Candidate) -> Part:
    """Attention, the router, and the experts of a rank with their even share of the tokens."""
    attention = attention_block(model, layout)
    gemms, passes = _experts(model, layout)
    return Part(
        gemms=attention.gemms + gemms, core=attention.core, passes=attention.passes + passes
    )


def _experts(model: Model, layout: Candidate) -> tuple[tuple[Gemm, ...], tuple[Pass, ...]]:
    experts, topk, width = model.experts or 1, model.topk or 1, model.expert_ffn_size
    count, hidden = tokens(model, layout), model.hidden
    routed = routed_tokens(model, layout)
    mine = experts / layout.ep
    each = routed / mine
    gemms = [
        Gemm(name="router", m=count / layout.tp, n=experts, k=hidden, numbers="bf16", module="moe"),
        *_feed_forward(model, each, width, layout.etp, "moe", mine),
    ]
    passes = [
        Pass(kind="permute", elements=count / layout.tp * topk * hidden, module="moe"),
        Pass(kind="router", elements=count / layout.tp * experts, module="moe"),
        _activation(model, routed * width / layout.etp, "moe_act"),
    ]
    if model.bias:
        passes.append(Pass(kind="expert_bias", elements=routed * hidden, module="moe"))
    if model.shared_experts:
        shared = model.shared_experts * width
        gemms += _feed_forward(model, count, shared, layout.tp, "shared_experts")
        passes.append(_activation(model, count * shared / layout.tp, "shared_experts"))
    return tuple(gemms), tuple(passes)


def routed_tokens(model: Model, layout: Candidate) -> Quantity:
    """Token copies that the experts of one rank take in, evenly routed.

    The ranks of a tensor parallel group hold different tokens (sequence parallelism); the etp
    ranks of an expert see the same ones.
    """
    return tokens(model, layout) / layout.tp * (model.topk or 1) * layout.etp


def attention_block(model: Model, layout: Candidate) -> Part:
    """Norms, projections, the core, and the residual sums of the whole layer."""
    count = tokens(model, layout)
    sharded = count * model.hidden / choose(layout.sequence > 0, layout.tp, 1)
    gemms = tuple(projections(model, count, layout.tp))
    kind = "norm" if model.norm != "rmsnorm" else "rms"
    passes = [
        Pass(kind=kind, elements=2 * sharded, module="layernorm"),
        Pass(kind="residual", elements=2 * sharded),
        Pass(kind="layout", elements=count * _qkv_width(model) / layout.tp),
    ]
    if model.dropout:
        passes.append(Pass(kind="dropout", elements=2 * sharded))
    if model.positions == "rope":
        share = 1 if model.mla is None else 0.33
        turned = count * (model.heads + model.kv_head_count) * model.head_size / layout.tp
        passes.append(Pass(kind="rope", elements=share * turned))
    return Part(gemms=gemms, core=attention_core(model, layout), passes=tuple(passes))


def attention_core(model: Model, layout: Candidate) -> Core:
    """The core of one rank; context parallel ranks each take their share of the queries."""
    mla = model.mla
    key = model.head_size if mla is None else mla.nope_dim + mla.rope_dim
    value = model.head_size if mla is None else mla.v_dim
    return Core(
        batch=layout.micro * model.heads / layout.tp,
        queries=model.seq / layout.cp,
        keys=model.seq,
        key_dim=key,
        value_dim=value,
        dropout=model.dropout > 0,
    )


def _qkv_width(model: Model) -> int:
    if model.mla is not None:
        return model.heads * (2 * (model.mla.nope_dim + model.mla.rope_dim) + model.mla.v_dim)
    return (model.heads + 2 * model.kv_head_count) * model.head_size


def projections(model: Model, count: Quantity, tp: Quantity) -> Iterator[Gemm]:
    """Query, key, value and output projections over ``count`` tokens."""
    if model.mla is not None:
        yield from _latent_projections(model, model.mla, count, tp)
        return
    yield Gemm(name="qkv", m=count, n=_qkv_width(model) / tp, k=model.hidden, normed=True)
    inner = model.heads * model.head_size
    yield Gemm(name="proj", m=count, n=model.hidden, k=inner / tp)


def _latent_projections(model: Model, mla: Mla, count: Quantity, tp: Quantity) -> Iterator[Gemm]:
    """The down projections are whole on every rank of the group (megatron-core)."""
    query, up = model.heads * (mla.nope_dim + mla.rope_dim), "mla_up_proj"
    if mla.q_rank is None:
        yield Gemm(name="q", m=count, n=query / tp, k=model.hidden)
    else:
        yield Gemm(name="q_down", m=count, n=mla.q_rank, k=model.hidden)
        yield Gemm(name="q_up", m=count, n=query / tp, k=mla.q_rank, module=up, normed=True)
    yield Gemm(name="kv_down", m=count, n=mla.kv_rank + mla.rope_dim, k=model.hidden)
    kv_up = model.heads * (mla.nope_dim + mla.v_dim)
    yield Gemm(name="kv_up", m=count, n=kv_up / tp, k=mla.kv_rank, module=up, normed=True)
    yield Gemm(name="proj", m=count, n=model.hidden, k=model.heads * mla.v_dim / tp)


def _feed_forward(
    model: Model, rows: Quantity, width: int, tp: Quantity, module: str, count: Quantity = 1
) -> Iterator[Gemm]:
    gate = 2 if model.gated else 1
    name = "expert" if module == "moe" else "fc"
    yield Gemm(
        name=f"{name}1", m=rows, n=gate * width / tp, k=model.hidden, count=count, module=module,
        normed=module == "mlp",
    )  # fmt: skip
    yield Gemm(name=f"{name}2", m=rows, n=model.hidden, k=width / tp, count=count, module=module)


def _activation(model: Model, elements: Quantity, module: str) -> Pass:
    return Pass(kind="gated" if model.gated else "activation", elements=elements, module=module)


def embedding(model: Model, layout: Candidate) -> Part:
    """Looking up the input embedding."""
    return Part(passes=(Pass(kind="embedding", elements=tokens(model, layout) * model.hidden),))


def head(model: Model, layout: Candidate) -> Part:
    """The final norm, the output layer and the loss."""
    count, vocab = tokens(model, layout), padded_vocab(model, layout.tp) / layout.tp
    kind = "norm" if model.norm != "rmsnorm" else "rms"
    return Part(
        gemms=(Gemm(name="logits", m=count, n=vocab, k=model.hidden, numbers="bf16"),),
        passes=(
            Pass(kind="loss", elements=count * vocab),
            Pass(kind=kind, elements=count * model.hidden),
        ),
    )


def prediction(model: Model, layout: Candidate) -> Part:
    """One depth of multi-token prediction: the projection of two streams to one, a layer, a head.

    Source: megatron-core ``transformer/multi_token_prediction.py``.
    """
    inner = moe_layer(model, layout) if model.experts else dense_layer(model, layout)
    joined = Gemm(
        name="mtp", m=tokens(model, layout), n=model.hidden / layout.tp, k=2 * model.hidden
    )
    end = head(model, layout)
    return Part(
        gemms=(joined, *inner.gemms, *end.gemms),
        core=inner.core,
        passes=inner.passes + end.passes,
    )


def padded_vocab(model: Model, tp: Quantity) -> Quantity:
    """Rows of the embedding, as :meth:`Model.padded_vocab` but also for arrays."""
    multiple = model.vocab_multiple * tp
    return rounded_up(model.vocab / multiple) * multiple
