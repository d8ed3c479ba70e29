"""Software stacks: which kernels a program of some year runs, and what it overlaps. Data files."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from llmtrain.config.attention import is_unfused
from llmtrain.config.recipe import Recipe
from llmtrain.config.yaml_reader import read_yaml

FOLDER = Path(__file__).parent / "data" / "stacks"


@dataclass(frozen=True, kw_only=True, slots=True)
class Bytes:
    """Memory traffic of one element of a pass."""

    forward: float
    """Bytes read and written forward."""
    backward: float
    """Bytes read and written backward."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stack:
    """A program of some year with its libraries."""

    name: str
    """As its file."""
    attention: Mapping[str, str]
    """The kernel behind each ``kernels.attention``: unfused, flash1, flash2, flash3, cudnn."""
    passes: Mapping[str, Bytes]
    """Bytes an element by kind of pass."""
    accumulate: float
    """Bytes a parameter that summing fp32 gradients costs a micro-batch, beside the product."""
    accumulate_half: float
    """The same of 16-bit gradients."""
    cast: float
    """Bytes an element that a conversion to FP8 costs."""
    cast_blocks: float
    """The same where blocks have scales of their own (blockwise, MXFP8)."""
    cast_normed: float
    """Share of it that is left where the norm before the product writes FP8 itself."""
    gather_fp8: float
    """Flag: sequence parallel gathers carry FP8 where the products are in FP8."""
    kept: tuple[str, ...]
    """Products that full recompute does not compute again: their outputs are saved, or nothing
    needs them."""
    dropped: float
    """Rate of a fused attention kernel with dropout, against without."""
    pass_rate: float
    """Share of the memory's rate for long passes that this stack's elementwise kernels reach."""
    kernels: float
    """Kernels of a layer's forward pass; the backward pass launches twice as many."""
    moe_kernels: float
    """The same of a MoE layer, its experts left out."""
    expert_kernels: float
    """Of each expert that a rank holds besides."""
    expert_casts: float
    """The same of its conversions to FP8."""
    launch_seconds: float
    """The host's time for one kernel."""
    backward_overlap: float
    """Share of the backward tensor parallel communication hidden behind weight gradients."""
    tp_overlap: float
    """Share of tensor parallel communication that ``kernels.tp_overlap`` hides."""
    data_rate: float
    """Share of the benchmarked rate that the replicas' collectives reach."""
    scatter: float
    """Flag: pipeline messages are cut over the tensor parallel ranks."""
    expert_overlap: float
    """Share of the expert parallel exchanges hidden behind other micro-batches."""
    expert_once: float
    """Flag: a token goes to each node, and there to each rank, once (DeepEP, HybridEP)."""
    pipeline_overlap: float
    """Share of the pipeline's messages hidden where chunks interleave."""
    reduce_bytes: float
    """Bytes of a gradient on the wire; 0: as wide as it is kept."""
    reduce_all: float
    """Flag: gradients are reduced to all replicas even where their states are sharded."""
    reduce_overlap: float
    """Share of a backward pass that can hide the reduction, where it is overlapped."""
    gather_overlap: float
    """Share of a forward pass that can hide gathered weights, where it is overlapped."""
    shard_overlap: float
    """Share of ZeRO-3's gathering and scattering that hides behind the layers."""
    shard_messages: float
    """Collectives into which ZeRO-3 cuts a layer's weights."""
    optimizer_bytes: float
    """Bytes of memory traffic a parameter of a step: clipping, optimizer, zeroing."""
    microbatch_seconds: float
    """The host's time a micro-batch that nothing hides."""
    step_seconds: float
    """The same a step."""
    drift: float
    """How much longer a step takes for each doubling of the nodes."""
    slowdown: float
    """Factor on everything computed: what the stack loses beyond the kernels' benchmarks."""
    error: float
    """Relative error of the step time, for the range."""
    measured: float = 1.0
    """Factor on the whole step, where runs on the cluster have shown one (``calibration``)."""


@lru_cache
def stack_of(name: str) -> Stack:
    """The stack of a data file."""
    return stack_from(stack_data(name))


def stack_from(data: Mapping[str, Any]) -> Stack:
    """A stack from a data file's mapping."""
    plain = {key: entry["value"] for key, entry in data["values"].items()}
    return Stack(
        name=data["name"],
        attention=MappingProxyType(data["attention"]["kernels"]),
        passes=MappingProxyType(
            {kind: Bytes(forward=f, backward=b) for kind, (f, b) in data["passes"]["bytes"].items()}
        ),
        **(plain | {"kept": tuple(plain["kept"])}),
    )


def with_deepep(stack: Stack) -> Stack:
    """The stack with DeepEP as its dispatcher, as in the one whose runs have it."""
    having = stack_of("megatron-core-2025")
    passes = MappingProxyType({**stack.passes, "permute": having.passes["permute"]})
    return replace(stack, passes=passes, expert_once=having.expert_once)


def stack_data(name: str, read: Callable[[str], Any] | None = None) -> dict[str, Any]:
    """The mapping of a stack; what its file leaves out is as in the stack it is ``like``."""
    data: dict[str, Any] = (read or read_stack)(name)
    parent = data.get("like")
    if not parent:
        return data
    base = stack_data(parent, read)
    passes = base["passes"]["bytes"] | data.get("passes", {}).get("bytes", {})
    return {
        "name": data["name"],
        "attention": data.get("attention", base["attention"]),
        "passes": {"bytes": passes},
        "values": base["values"] | data.get("values", {}),
    }


def chosen_stack(recipe: Recipe) -> str:
    """The stack that the recipe's backend and attention stand for (``choice.yaml``, first rule)."""
    for rule in _rules():
        if _matches(rule["when"], recipe):
            return str(rule["stack"])
    return "megatron-core-2024"


def _matches(when: Mapping[str, Any], recipe: Recipe) -> bool:
    known: dict[str, object] = {
        "backend": recipe.backend.name,
        "attention": "unfused" if is_unfused(recipe) else recipe.kernels.attention,
        "precision": recipe.precision.kind,
        "zero": recipe.optim.zero,
    }
    named = all(known[key] in values for key, values in when.items() if key in known)
    versions = when.get("version")
    if versions is None:
        return named
    version = recipe.backend.version or ""
    return named and any(version.startswith(start) for start in versions)


@lru_cache
def _rules() -> tuple[dict[str, Any], ...]:
    return tuple(read_stack("choice")["rules"])


def read_stack(name: str) -> Any:
    """A data file of the folder."""
    return read_yaml((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
