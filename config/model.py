"""The shape of the model: what is trained, not where."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from llmtrain.config.checks import at_least, divides, fraction, positive, require
from llmtrain.config.errors import Problem

Activation = Literal["gelu", "geglu", "swiglu", "relu", "relu2"]
Norm = Literal["layernorm", "layernorm1p", "rmsnorm", "deepnorm"]
Positions = Literal["learned", "rope", "alibi", "none"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Mla:
    """Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434, section 2.1)."""

    q_rank: int | None = None
    """Width of the compressed query; null: queries are not compressed."""
    kv_rank: int = 512
    """Width of the compressed keys and values."""
    nope_dim: int = 128
    """Width of a query or key head without rotary positions."""
    rope_dim: int = 64
    """Width of the rotary part, shared by all key heads."""
    v_dim: int = 128
    """Width of a value head."""

    def __post_init__(self) -> None:
        require(
            at_least("q_rank", self.q_rank, 1),
            at_least("kv_rank", self.kv_rank, 1),
            at_least("nope_dim", self.nope_dim, 1),
            at_least("rope_dim", self.rope_dim, 1),
            at_least("v_dim", self.v_dim, 1),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Model:
    """A GPT-like decoder. Sizes are counts of units, dimensions or tokens."""

    name: str = ""
    """What the field calls it."""
    layers: int
    """Transformer layers, dense and MoE together."""
    hidden: int
    """Width of the residual stream."""
    heads: int
    """Attention heads."""
    kv_heads: int | None = None
    """Heads of keys and values (GQA); null: as many as ``heads``."""
    ffn: int | None = None
    """Width of the dense feed-forward; null: 4 x hidden."""
    vocab: int
    """Tokens of the tokenizer, before padding."""
    vocab_multiple: int = 128
    """The vocabulary is padded to a multiple of this times tp (Megatron's rule)."""
    seq: int
    """Tokens of a sequence."""
    head_dim: int | None = None
    """Width of a head; null: hidden / heads."""
    experts: int | None = None
    """Routed experts of a MoE layer; null: a dense model."""
    topk: int | None = None
    """Experts a token is sent to."""
    moe_ffn: int | None = None
    """Width of one expert; null: as ``ffn``."""
    shared_experts: int = 0
    """Experts that every token passes, each as wide as a routed one."""
    dense_layers: int = 0
    """Layers at the start that stay dense in a MoE model."""
    aux_loss: float = 0.01
    """Weight of the loss that balances the experts (arXiv 2101.03961, section 2.2); 0: none.
    The default is the paper's."""
    activation: Activation = "gelu"
    """geglu and swiglu are gated: the first matrix of the feed-forward is doubled."""
    norm: Norm = "layernorm"
    """deepnorm: layer norms behind the residual sum (arXiv 2203.00555)."""
    norm_eps: float = 1e-5
    """Added to the variance in a norm."""
    positions: Positions = "learned"
    """How a token knows its place."""
    rope_base: float = 10000.0
    """Base of the rotary frequencies."""
    rope_fraction: float = 1.0
    """Share of a head that is rotated."""
    tied: bool = True
    """Input and output embedding are one matrix."""
    bias: bool = True
    """Linear layers have biases (the output layer never has)."""
    qkv_bias: bool = False
    """Only the query, key and value projections have biases (with ``bias: false``)."""
    embedding_norm: bool = False
    """A layer norm behind the input embedding (BLOOM)."""
    mla: Mla | None = None
    """Multi-head latent attention in place of plain or grouped heads."""
    mtp: int = 0
    """Depth of multi-token prediction (DeepSeek-V3)."""
    dropout: float = 0.0
    """Dropout of attention and residual stream."""
    init_std: float = 0.02
    """Standard deviation of the initial weights."""

    def __post_init__(self) -> None:
        sizes = ("layers", "hidden", "heads", "kv_heads", "ffn", "vocab", "vocab_multiple", "seq")
        moe = ("head_dim", "experts", "topk", "moe_ffn")
        require(
            *(at_least(name, getattr(self, name), 1) for name in sizes + moe),
            at_least("shared_experts", self.shared_experts, 0),
            at_least("dense_layers", self.dense_layers, 0),
            at_least("mtp", self.mtp, 0),
            at_least("aux_loss", self.aux_loss, 0),
            positive("norm_eps", self.norm_eps),
            positive("rope_base", self.rope_base),
            positive("init_std", self.init_std),
            fraction("dropout", self.dropout),
            fraction("rope_fraction", self.rope_fraction),
        )
        require(*self._shape_problems())

    def _shape_problems(self) -> Iterator[Problem | None]:
        if not (self.head_dim or self.mla):
            yield divides("heads", self.heads, self.hidden, "model.hidden")
        yield divides("kv_heads", self.kv_head_count, self.heads, "model.heads")
        yield from self._moe_problems(self.experts) if self.experts else self._dense_problems()

    def _dense_problems(self) -> Iterator[Problem]:
        named = [name for name in ("topk", "moe_ffn") if getattr(self, name) is not None]
        named += [name for name in ("shared_experts", "dense_layers") if getattr(self, name)]
        for name in named:
            yield Problem(code="conflict", key=name, says="needs `model.experts`")

    def _moe_problems(self, experts: int) -> Iterator[Problem]:
        if self.topk is None:
            yield Problem(code="missing", key="topk", says="is needed with `model.experts`")
        elif self.topk > experts:
            says = f"= {self.topk} is more than `model.experts` = {experts}"
            yield Problem(code="out_of_range", key="topk", says=says)
        if self.shared_experts and self.bias:
            says = "cannot have biases: `model.bias=false`"
            yield Problem(code="conflict", key="shared_experts", says=says)
        if self.dense_layers > self.layers:
            says = f"= {self.dense_layers} is more than `model.layers` = {self.layers}"
            yield Problem(code="out_of_range", key="dense_layers", says=says)

    @property
    def kv_head_count(self) -> int:
        """Heads of keys and values, with the default filled in."""
        return self.kv_heads if self.kv_heads is not None else self.heads

    @property
    def ffn_size(self) -> int:
        """Width of the dense feed-forward, with the default filled in."""
        return self.ffn if self.ffn is not None else 4 * self.hidden

    @property
    def expert_ffn_size(self) -> int:
        """Width of one expert, with the default filled in."""
        return self.moe_ffn if self.moe_ffn is not None else self.ffn_size

    @property
    def head_size(self) -> int:
        """Width of one head, with the default filled in."""
        return self.head_dim if self.head_dim is not None else self.hidden // self.heads

    @property
    def gated(self) -> bool:
        """Whether the feed-forward has a gate beside its first matrix."""
        return self.activation in ("geglu", "swiglu")

    def is_moe_layer(self, layer: int) -> bool:
        """Whether layer number ``layer`` (from 0) has experts."""
        return self.experts is not None and layer >= self.dense_layers

    def padded_vocab(self, tp: int) -> int:
        """Rows of the embedding: the vocabulary rounded up to ``vocab_multiple`` x tp.

        Source: Megatron-LM ``megatron/training/tokenizer`` (``_vocab_size_with_padding``).
        """
        multiple = self.vocab_multiple * tp
        return -(-self.vocab // multiple) * multiple
