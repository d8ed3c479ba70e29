"""A row's model: what the columns say, and what its published size tells of the rest."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from benchmarks.points import Point
from llmtrain.config.model import Activation, Mla, Model, Norm, Positions
from llmtrain.planner.operators import padded_vocab


class NotExpressible(Exception):
    """A row that no recipe can say, with the reason."""


NEAR = 10
"""A published size that is further from the shape's is in another unit, or of another model."""

DEEPSEEK = Mla(q_rank=1536)
"""The latent attention of DeepSeek-V3 and of the models built like it (arXiv 2412.19437)."""


def shape_of(point: Point) -> Model:
    """The model of a row.

    Raises:
        NotExpressible: if its shape is not published, or is no decoder-only transformer.
    """
    arch = point.text("arch")
    missing = [name for name in ("layers", "hidden", "heads") if point.whole(name) is None]
    if missing:
        raise NotExpressible(f"the model's shape is not published: {', '.join(missing)}")
    if "moe" in arch and point.whole("experts") is None:
        raise NotExpressible(f"arch {arch}: the number of experts is not published")
    if point.whole("experts") is not None and point.whole("topk") is None:
        raise NotExpressible("how many experts a token goes to (topk) is not published")
    model = _nearest([_model(point, choice) for choice in _choices(point)], point)
    _compare(model, point)
    return model


def _compare(model: Model, point: Point) -> None:
    size, found = point.number("params_b"), parameters(model) / 1e9
    if size is not None and not 1 / NEAR < size / found < NEAR:
        raise NotExpressible(f"params_b {size:g}, but the shape has {found:.3g}")


def shape_notes(point: Point, model: Model) -> Iterator[str]:
    """Blank columns of the model's shape, and what they were filled with."""
    given = {"kv_heads": model.kv_head_count, "ffn": model.ffn_size, "vocab": model.vocab}
    given |= {"seq": model.seq}
    if model.experts:
        given |= {"moe_ffn": model.expert_ffn_size}
    for column, value in given.items():
        if not point.text(column):
            yield f"{column}: {value}"


@dataclass(frozen=True, slots=True)
class Choice:
    """What the columns leave open."""

    gated: bool
    """Gated feed-forward."""
    tied: bool
    """One matrix for both embeddings."""
    head_dim: int | None
    """Width of a head."""
    ffn: int | None
    """Width of the feed-forward."""
    vocab: int
    """Tokens of the vocabulary."""
    shared: int
    """Shared experts."""
    dense: int
    """Dense layers; those that alternate with MoE layers are taken to come first."""


def _choices(point: Point) -> list[Choice]:
    """What the columns leave open, the likely choice first."""
    llama = point.text("arch") != "gpt"
    gates = [llama] if llama else [False, True]
    ties = [False, True] if llama or (point.whole("vocab") or 0) >= 200_000 else [True, False]
    blocks = _shared(point), _dense(point)
    every = product(gates, ties, _widths(point), _ffns(point), _vocabs(point), *blocks)
    return [Choice(*one) for one in every]


def _widths(point: Point) -> list[int | None]:
    heads, hidden = point.whole("heads") or 1, point.whole("hidden") or 1
    moe = "moe" in point.text("arch")
    if hidden % heads or (moe and hidden // heads % 16):
        return [128, 64]
    return [None, 128, 64] if moe else [None]


def _vocabs(point: Point) -> list[int]:
    given = point.whole("vocab")
    if given is not None:
        return [given]
    return [32000, 128256] if point.text("arch") != "gpt" else [51200]


def _ffns(point: Point) -> list[int | None]:
    """LLaMA's rule where the width is not given (8/3 hidden in steps of 256, or as known), and its
    second and third generation's (times 1.3 in steps of 1024)."""
    given = point.whole("ffn")
    if given is not None or point.text("arch") == "gpt":
        return [given]
    hidden = point.whole("hidden") or 1
    known = {4096: 14336, 5120: 13824, 8192: 28672, 16384: 53248}
    rule = -(-8 * hidden // 3 // 256) * 256
    newer = -(-int(1.3 * 8 * hidden / 3) // 1024) * 1024
    first = known.get(hidden, rule) if (point.whole("vocab") or 0) > 100_000 else rule
    return list(dict.fromkeys([first, rule, newer]))


def _shared(point: Point) -> list[int]:
    """DeepSeek's models and their like have one shared expert."""
    if point.whole("experts") is None:
        return [0]
    return [1] if "mla" in point.text("arch") else [0, 1]


def _dense(point: Point) -> list[int]:
    """DeepSeek-V3 begins with 3 dense layers, Kimi K2 (384 experts) with one; Llama 4 Maverick has
    every other layer dense."""
    layers, experts = point.whole("layers") or 1, point.whole("experts")
    if experts is None:
        return [0]
    if "mla" in point.text("arch"):
        return [min(3 if experts <= 256 else 1, layers)]
    return [0, layers // 2]


def _nearest(models: list[Model], point: Point) -> Model:
    """The first model whose size is as near to the published one as the nearest, or nearly so."""
    size = point.number("params_b")
    if size is None:
        return models[0]
    errors = [abs(parameters(model) / (size * 1e9) - 1.0) for model in models]
    near = max(min(errors) + 0.002, 0.006)
    close = [m for m, error in zip(models, errors, strict=True) if error <= near]
    return close[0]


def parameters(model: Model) -> float:
    """About how many parameters a model has: its matrices."""
    attention = model.hidden * model.head_size * (2 * model.heads + 2 * model.kv_head_count)
    gate = 3 if model.gated else 2
    dense = gate * model.hidden * model.ffn_size
    expert = gate * model.hidden * model.expert_ffn_size
    moe = model.layers - model.dense_layers if model.experts else 0
    routed = moe * ((model.experts or 0) + model.shared_experts) * expert
    ends = padded_vocab(model, 1) * model.hidden * (1 if model.tied else 2)
    return model.layers * attention + (model.layers - moe) * dense + routed + ends


def _model(point: Point, choice: Choice) -> Model:
    gated, tied, llama = choice.gated, choice.tied, point.text("arch") != "gpt"
    mla = "mla" in point.text("arch")
    experts = point.whole("experts")
    positions: Positions = "rope" if llama else "learned"
    norm: Norm = "rmsnorm" if llama else "layernorm"
    activation: Activation = ("swiglu" if llama else "geglu") if gated else "gelu"
    return Model(
        name=point.id,
        layers=point.whole("layers") or 1,
        hidden=point.whole("hidden") or 1,
        heads=point.whole("heads") or 1,
        kv_heads=point.whole("kv_heads"),
        ffn=choice.ffn,
        vocab=choice.vocab,
        seq=point.whole("seq") or 2048,
        head_dim=choice.head_dim,
        experts=experts,
        topk=point.whole("topk") if experts else None,
        moe_ffn=point.whole("moe_ffn") if experts else None,
        shared_experts=choice.shared,
        dense_layers=choice.dense,
        activation=activation,
        norm=norm,
        positions=positions,
        tied=tied,
        bias=not llama,
        mla=DEEPSEEK if mla else None,
        mtp=1 if mla and "w/ MTP" in point.text("notes") else 0,
    )
