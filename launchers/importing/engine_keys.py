"""DeepSpeed's JSON in a launch that was read: what it decides, what is wrong, what has no place."""

from collections.abc import Iterator, Mapping
from typing import Any

from llmtrain.launchers.backends.deepspeed_checks import oversights
from llmtrain.launchers.importing.reading import Left
from llmtrain.launchers.mappings import inner, leaves, number

Config = Mapping[str, Any]

READ = frozenset(
    {
        "train_batch_size",
        "train_micro_batch_size_per_gpu",
        "gradient_accumulation_steps",
        "gradient_clipping",
        "zero_optimization.stage",
        "zero_optimization.overlap_comm",
        "zero_optimization.offload_optimizer.device",
        "zero_optimization.offload_optimizer.pin_memory",
        "bf16.enabled",
        "bfloat16.enabled",
        "fp16.enabled",
        "fp16.loss_scale",
        "fp16.initial_scale_power",
        "fp16.loss_scale_window",
        "data_types.grad_accum_dtype",
        "steps_per_print",
        "wall_clock_breakdown",
    }
)
"""Keys that a recipe has, or that only say what is printed."""


def left_of_engine(config: Config) -> Iterator[Left]:
    """Keys without a place in a recipe."""
    for key, value in leaves(config):
        if key not in READ:
            yield Left(flag=key, value=str(value), why="of DeepSpeed's JSON")


def engine_notes(config: Config, batch: Mapping[str, Any], pp: int) -> Iterator[str]:
    """What DeepSpeed lets pass, and where the JSON and the arguments disagree."""
    for says in oversights(config, pp=pp):
        yield f"DeepSpeed's JSON: {says}"
    pairs = (("train_batch_size", "global"), ("train_micro_batch_size_per_gpu", "micro"))
    for key, name in pairs:
        told, asked = config.get(key), batch.get(name)
        if isinstance(told, int) and asked and told != asked:
            yield f"DeepSpeed's JSON: `{key}` is {told}, the arguments say {asked}"


def loss_scale(config: Config) -> dict[str, Any]:
    """``precision.*`` of the fp16 block, which is DeepSpeed's to decide; empty: it has none."""
    block = inner(config, "fp16")
    if not block.get("enabled"):
        return {}
    scale = number(block, "loss_scale")
    if scale:
        return {"loss_scale": float(scale)}
    power, window = number(block, "initial_scale_power"), number(block, "loss_scale_window")
    return {
        "initial_loss_scale": 2.0 ** int(16 if power is None else power),
        "loss_scale_window": int(1000 if window is None else window),
    }


def offloads(config: Config) -> bool:
    """Whether the optimizer lives in the host's memory."""
    offload = inner(inner(config, "zero_optimization"), "offload_optimizer")
    return offload.get("device") == "cpu"
