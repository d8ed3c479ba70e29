"""A plan as a person reads it."""

from collections.abc import Iterator

from rich.console import Console
from rich.table import Table
from rich.text import Text

from llmtrain.cli.show_cost import show_cost
from llmtrain.cli.show_speed import show_speed
from llmtrain.cli.show_stages import show_stages
from llmtrain.config.calibration import Calibration
from llmtrain.config.errors import Problem
from llmtrain.config.layout import Axis
from llmtrain.config.recipe import Recipe
from llmtrain.planner.calibration import applies
from llmtrain.planner.plan import Plan
from llmtrain.planner.sets import SetUse, name_of


def show_plan(plan: Plan, console: Console) -> None:
    """Layout, placement, parameters and memory of every stage, the step, the cost."""
    recipe = plan.recipe
    console.print(Text.assemble((recipe.name, "bold"), f"  {recipe.description}"))
    console.print(_facts(plan))
    console.print()
    console.print(_placement(plan))
    console.print()
    show_stages(plan, console)
    show_speed(plan, console)
    show_cost(plan, console)
    for warning in plan.warnings:
        console.print(Text.assemble(("warning: ", "yellow"), _warning(warning)))


def _warning(warning: Problem) -> str:
    """The sentence, then what is known to be better."""
    offers = " or ".join(str(repair) for repair in warning.repairs)
    more = [f"try {offers}" if offers else "", warning.hint]
    return "; ".join(part for part in (warning.message, *more) if part)


def _facts(plan: Plan) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in _lines(plan):
        table.add_row(name, value)
    return table


def _lines(plan: Plan) -> Iterator[tuple[str, str]]:
    recipe, parallel = plan.recipe, plan.recipe.parallel
    cluster, dp = recipe.cluster, plan.dp
    yield "layout", f"{parallel.tp}-way TP × {parallel.pp}-way PP{_more(plan)} · dp {dp}"
    yield (
        "on",
        f"{recipe.gpus} × {cluster.gpu.name}, {_count(plan.nodes, 'node')} of {cluster.name}",
    )
    yield "stage", _stage_line(plan)
    yield (
        "batch",
        f"{recipe.batch.global_} sequences = {_count(plan.microbatches, 'micro-batch', 'es')} × "
        f"{recipe.batch.micro} × dp {dp}{_ramp(plan)}",
    )
    yield "run", _length(plan)
    if plan.sets:
        yield "data", "\n".join(map(_set, plan.sets))
    yield "parameters", _parameters(plan)
    yield (
        "numbers",
        f"{recipe.precision.kind} · ZeRO {recipe.optim.zero} · {recompute_text(recipe)}",
    )
    yield "program", f"{recipe.backend.name}, scheduler {recipe.site.scheduler}"
    if applies(recipe):
        yield "calibrated", _calibration(recipe.calibration)


def _calibration(own: Calibration) -> str:
    runs = f"{_count(len(own.runs), 'run')} of {own.cluster} ({own.stack}, {own.precision})"
    return f"step × {own.step_factor:.3g}, memory × {own.memory_factor:.3g}, by {runs}"


def _count(number: int, noun: str, ending: str = "s") -> str:
    return f"{number} {noun}{'' if number == 1 else ending}"


def _more(plan: Plan) -> str:
    parallel = plan.recipe.parallel
    extra = [
        f"{value}-way {name.upper()}"
        for name, value in (("cp", parallel.cp), ("ep", parallel.ep))
        if value > 1
    ]
    words = "".join(f" × {each}" for each in extra)
    return f"{words} · sequence parallel" if parallel.sequence else words


def _stage_line(plan: Plan) -> str:
    counts = sorted({stage.layers for stage in plan.stages})
    each = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    noun = "layer" if counts == [1] else "layers"
    return f"{each} {noun} a stage in {_count(plan.recipe.parallel.vpp, 'chunk')}"


def _ramp(plan: Plan) -> str:
    ramp = plan.recipe.batch.ramp
    if ramp is None:
        return ""
    return f", ramp {ramp.start} by {ramp.step} over {ramp.samples:,} sequences"


def _length(plan: Plan) -> str:
    tokens = plan.recipe.tokens
    steps = "length not given" if plan.steps is None else f"{plan.steps:,} steps"
    return steps if tokens is None or plan.recipe.run.steps else f"{steps} for {tokens:,} tokens"


def _set(each: SetUse) -> str:
    share = "" if each.share in (None, 1.0) else f" {each.share:.1%} of the samples,"
    use = " (validation)" if each.use == "validation" else ""
    if each.tokens is None:
        return f"{name_of(each)}{use}:{share} not on this machine, so its size is not known"
    epochs = "length not given" if each.epochs is None else f"{each.epochs:.3g} epochs"
    return f"{name_of(each)}{use}:{share} {epochs} of {each.tokens:,} tokens"


def _parameters(plan: Plan) -> str:
    total = f"{plan.total_parameters:,}"
    if plan.active_parameters == plan.total_parameters:
        return total
    return f"{total}, of which a token passes {plan.active_parameters:,}"


def recompute_text(recipe: Recipe) -> str:
    """What is computed again, in a few words."""
    recompute = recipe.recompute
    if recompute.kind == "selective":
        return f"recompute {'+'.join(recompute.modules)}"
    if recompute.kind == "full":
        return f"full recompute ({recompute.method} {recompute.layers})"
    return "no recompute"


def _placement(plan: Plan) -> Table:
    table = Table(title="Ranks on the nodes", title_justify="left", box=None, pad_edge=False)
    for name in ("axis", "size", "stride", "lies"):
        table.add_column(name, justify="right" if name in ("size", "stride") else "left")
    for axis in plan.axes:
        table.add_row(axis.name, str(axis.size), str(axis.stride), _lies(axis))
    return table


def _lies(axis: Axis) -> str:
    if axis.size == 1:
        return axis.place
    example = ", ".join(str(number * axis.stride) for number in range(min(axis.size, 3)))
    more = ", …" if axis.size > 3 else ""
    return f"{axis.place} (ranks {example}{more})"
