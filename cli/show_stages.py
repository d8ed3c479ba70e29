"""The stages of a plan: parameters, and a bar of what fills their memory."""

from collections.abc import Iterator

from rich.console import Console
from rich.table import Table
from rich.text import Text

from llmtrain.planner.memory import Memory
from llmtrain.planner.plan import Plan, Stage

GIB = 2**30
BAR = 40
"""Columns of a bar that is full to the GPU's capacity."""

PARTS = (
    ("weights", "W", "blue"),
    ("gradients", "G", "cyan"),
    ("optimizer", "O", "magenta"),
    ("activations", "A", "green"),
    ("workspace", "x", "yellow"),
)
"""A part of the memory, its letter in the bar, its colour."""


def show_stages(plan: Plan, console: Console) -> None:
    """One row for each kind of stage, its fullest one, then the verdict."""
    groups = list(_alike(plan.stages))
    console.print(_parameters(groups))
    console.print()
    console.print(_memory(plan, groups))
    console.print(_bars(plan, groups))
    console.print(_verdict(plan))
    console.print()


Group = tuple[str, Stage]
"""Numbers of neighbouring stages, and the one of them that needs most."""


def _alike(stages: tuple[Stage, ...]) -> Iterator[Group]:
    start = 0
    for number in range(1, len(stages) + 1):
        if number < len(stages) and _same(stages[start], stages[number]):
            continue
        group = stages[start:number]
        numbers = f"{start}" if len(group) == 1 else f"{start}-{number - 1}"
        yield numbers, max(group, key=lambda stage: stage.memory.total)
        start = number


def _same(one: Stage, other: Stage) -> bool:
    return (one.layers, one.parameters) == (other.layers, other.parameters)


def _parameters(groups: list[Group]) -> Table:
    table = Table(title="Stages", title_justify="left", box=None, pad_edge=False)
    table.add_column("stage")
    for name in ("layers", "parameters a rank", "of the stage"):
        table.add_column(name, justify="right")
    for numbers, stage in groups:
        own, whole = f"{stage.parameters:,}", f"{stage.stage_parameters:,}"
        table.add_row(numbers, str(stage.layers), own, whole)
    return table


def _memory(plan: Plan, groups: list[Group]) -> Table:
    unit, name = (GIB, "GiB") if plan.peak_memory_bytes >= GIB else (2**20, "MiB")
    title = f"Memory of one rank, {name}"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column("stage")
    for part, letter, _ in PARTS:
        table.add_column(f"{part} ({letter})", justify="right", overflow="fold")
    table.add_column("total", justify="right")
    table.add_column("fullest, micro-batches", overflow="fold")
    for numbers, stage in groups:
        sizes = [*_sizes(stage.memory), stage.memory.total]
        table.add_row(numbers, *(f"{size / unit:.2f}" for size in sizes), _moment(stage))
    return table


def _sizes(memory: Memory) -> list[int]:
    return [getattr(memory, part) for part, _, _ in PARTS]


def _moment(stage: Stage) -> str:
    moment = stage.peak.fullest
    return f"{moment.phase}, {int(moment.microbatches)} in flight"


def _bars(plan: Plan, groups: list[Group]) -> Text:
    capacity = plan.recipe.cluster.gpu.memory_bytes or plan.peak_memory_bytes
    width = max(len(numbers) for numbers, _ in groups)
    text = Text()
    for numbers, stage in groups:
        text.append(f"{numbers:>{width}} ")
        text.append_text(_bar(stage.memory, capacity))
        text.append("\n")
    return text


def _bar(memory: Memory, capacity: int) -> Text:
    """Letters in proportion to the parts; ``|`` stands where the GPU is full."""
    bar, end, filled = Text(), 0, 0
    for size, (_, letter, colour) in zip(_sizes(memory), PARTS, strict=True):
        end += size
        columns = round(end / capacity * BAR) - filled
        bar.append(letter * columns, style=colour)
        filled += columns
    bar.append("·" * max(0, BAR - filled))
    return bar if filled > BAR else bar.append("|")


def _verdict(plan: Plan) -> str:
    capacity = plan.recipe.cluster.gpu.memory_bytes
    if capacity is None or plan.verdict is None:
        return "the memory of this machine is not known to the plan"
    words = {"fits": "fits", "tight": "tight: within the model's own error", "no": "does not fit"}
    needed = f"{plan.peak_memory_bytes / GIB:.1f} of {capacity / GIB:.1f} GiB"
    host = plan.host_memory_bytes
    beside = f", and {host / GIB:.1f} GiB of host memory a node" if host else ""
    return f"worst rank {needed}{beside}: {words[plan.verdict]}"
