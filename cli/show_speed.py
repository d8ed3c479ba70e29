"""The step of a plan: how long it takes, and what it goes to."""

from rich.console import Console
from rich.table import Table

from llmtrain.planner.plan import Plan
from llmtrain.planner.speed import ATTENTION, Speed

BAR = 40
"""Columns of a bar that is the whole step."""


def show_speed(plan: Plan, console: Console) -> None:
    """Step time with its range, throughput, and the breakdown in exposed seconds."""
    speed = plan.speed
    if speed is None:
        console.print("the speed of this machine is not known to the plan")
        return
    low, high = speed.step_seconds_range
    console.print(f"step {speed.step_seconds:.2f} s ({low:.2f} to {high:.2f})", style="bold")
    console.print(_throughput(speed))
    console.print(_breakdown(speed))


def _throughput(speed: Speed) -> str:
    convention = f"{ATTENTION} attention, peak {speed.peak_tflops:g} TFLOP/s"
    return (
        f"{speed.tokens_per_second_per_gpu:,.0f} tokens/s a GPU · "
        f"{speed.model_tflops_per_gpu:.0f} model TFLOP/s a GPU · "
        f"MFU {speed.mfu:.1%} · HFU {speed.hfu:.1%} ({convention})"
    )


def _breakdown(speed: Speed) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("exposed", "seconds", "share"):
        table.add_column(name, justify="left" if name == "exposed" else "right")
    table.add_column("")
    for name, seconds in sorted(speed.breakdown.items(), key=lambda item: -item[1]):
        share = seconds / speed.step_seconds
        if seconds > 0:
            bar = "█" * round(share * BAR)
            table.add_row(name.replace("_", " "), f"{seconds:.3f}", f"{share:.1%}", bar)
    return table
