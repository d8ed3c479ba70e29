"""What a row measured, as seconds a step."""

from benchmarks.express import Expressed
from benchmarks.points import Point
from llmtrain.planner.flops import seconds_of


def measured_seconds(expressed: Expressed) -> float | None:
    """Step time as published, else from tokens a second, else from TFLOP/s or MFU by its formula.

    "About N days" is rounded too far to count.
    """
    recipe, point = expressed.recipe, expressed.point
    seconds = point.number("step_time_s")
    if seconds:
        return seconds
    rate = point.number("tokens_per_s_per_gpu")
    if rate:
        return recipe.batch.global_ * recipe.model.seq / (rate * recipe.gpus)
    tflops = point.number("tflops_per_gpu")
    if tflops:
        return seconds_of(recipe, tflops, convention_of(point))
    return None


def convention_of(point: Point) -> str:
    """How a row's source counts operations (data/README.md)."""
    hardware = point.text("tflops_kind") == "hardware"
    if hardware:
        deepspeed = "DeepSpeed" in point.text("framework")
        return "eight_n" if deepspeed or point.text("arch") != "gpt" else "narayanan"
    return "model_causal" if "CAUSAL" in point.text("notes") else "model_full"
