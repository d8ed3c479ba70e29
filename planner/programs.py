"""What programs keep for the backward pass where they differ, and constants of libraries. Data."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from llmtrain.config.recipe import Recipe
from llmtrain.config.yaml_reader import read_yaml

FILE = Path(__file__).parent / "data" / "memory.yaml"


@dataclass(frozen=True, kw_only=True, slots=True)
class Program:
    """The habits of one program; the data file says what each is and where it was read."""

    name: str
    """As in the data file."""
    mask_bytes: float
    """Bytes of an element of a dropout mask; 0: as wide as the activations."""
    layernorm_stats: float
    """Bytes of a token's mean and deviation; 0: two numbers of the activations."""
    rmsnorm_stats: float
    """Bytes of a token's deviation."""
    rmsnorm_copy: float
    """Bytes an element of the norm's input and of what stands beside it; 0: the input alone."""
    gate_copies: float
    """Tensors as wide as the feed-forward that a gate keeps beyond its input and output."""
    expert_gate_copies: float
    """The same in an expert."""
    rope_tables: float
    """Flag: every layer keeps its cosines and sines."""
    causal_mask: float
    """Flag: every layer keeps a mask of seq x seq bytes."""
    gathers_norm: float
    """Flag: what a norm gives is kept gathered under sequence parallel."""
    whole_logits: float
    """Flag: every tensor parallel rank holds all logits."""
    logit_saved: float
    """Bytes that the loss keeps for each logit."""
    logit_extra: float
    """Copies of the logits, in the numbers of the activations, at the loss's peak."""
    stage_outputs: float
    """Outputs that the pipeline keeps for each micro-batch in flight."""
    fused_gradients: float
    """Flag: a weight's gradient is summed in place."""
    gather_buffer: float
    """Flag: a buffer for the gathered input under sequence parallel."""
    gradient_copy: float
    """Flag: 16-bit gradients of all parameters stand beside their fp32 sums."""
    step_gradients: float
    """Flag: fp32 gradients of the shard are only made in the optimizer step."""
    score_copy: float
    """More bytes kept for each score of unfused attention."""
    step_copy: float
    """Bytes a parameter of the rank's shard that the optimizer step allocates."""
    bucket_parameters: float
    """Parameters of a bucket that is copied before it is reduced."""
    eager_context: float
    """Flag: CUDA's kernels are loaded all at once."""


@lru_cache(maxsize=1)
def data() -> Mapping[str, Any]:
    """The data file."""
    return MappingProxyType(read_yaml(FILE.read_text(encoding="utf-8")))


def constant(name: str) -> float:
    """A constant of the data file."""
    return float(data()["constants"][name])


@lru_cache(maxsize=16)
def program(name: str) -> Program:
    """The program ``name``; what its entry leaves out is as in the entry it builds on."""
    known = data()["programs"]
    base, _, variant = name.partition("-")
    names = ["megatron", base, name] if variant and base in known else ["megatron", name]
    values: dict[str, float] = {}
    for each in names:
        values |= known[each]
    return Program(name=name, **values)


def program_of(recipe: Recipe) -> Program:
    """The program that a recipe runs on."""
    if recipe.cluster.device == "cpu":
        return program("cpu")
    if recipe.backend.name == "megatron-deepspeed":
        return program("megatron-deepspeed")
    return program("fsdp" if recipe.backend.name == "deepspeed" else "megatron")
