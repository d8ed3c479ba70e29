"""A search as a person reads it."""

import shlex
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table

from llmtrain.cli.show_plan import recompute_text
from llmtrain.config.layout import data_parallel
from llmtrain.planner.calibration import memory_error
from llmtrain.planner.search.offers import Objective, Offer
from llmtrain.planner.search.result import Sized, Tuning, why
from llmtrain.planner.step import StepTime

SHOWN = 0.001
"""Share of a step below which a difference is not shown."""


def show_tuning(tuning: Tuning, console: Console) -> None:
    """What was searched, the ranked table, why the winner wins, what to paste."""
    found = tuning.found
    console.print(
        f"{found.legal:,} legal layouts: {found.pruned:,} do not fit, {found.slower:,} fit with "
        f"less recompute too; {found.timed:,} timed, rank orders and overlaps counted apart"
    )
    console.print(_own(tuning))
    if found.offers:
        _ranked(f"Best layouts: least {_measure(tuning.objective)}", found.offers, console)
        _explain(tuning, console)
    if found.front:
        _ranked("Days against GPU-hours: none is beaten in both", found.front, console)
    if tuning.sizes:
        _sizes(tuning.sizes, console)


def _measure(objective: Objective) -> str:
    return {"step": "step time", "gpu-hours": "GPU-hours"}.get(objective, objective)


def _own(tuning: Tuning) -> str:
    own = tuning.found.own
    if own is None:
        return "the recipe's own layout breaks a rule"
    says = "" if tuning.found.own_fits else ", which cannot be launched as it is"
    return f"the recipe's own layout: {own.seconds:.3f} s a step{says}"


def _ranked(title: str, offers: Sequence[Offer], console: Console) -> None:
    """Layouts by number; what rank order and overlaps they have stands in the overrides."""
    table = Table(box=None, pad_edge=False)
    costed = any(offer.outlook is not None for offer in offers)
    heads = ["step s", "GPUs", *(("days", "GPU-hours") if costed else ()), "memory"]
    for name in heads:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("layout", overflow="fold")
    for offer in offers:
        costs = [f"{offer.costs()[0]:.3g}", f"{offer.costs()[1]:,.0f}"] if costed else []
        share = "" if offer.memory_share is None else f"{offer.memory_share:.0%}"
        step = f"{offer.step.seconds:.3f}"
        table.add_row(step, str(offer.recipe.gpus), *costs, share, _layout(offer))
    console.print()
    console.print(title, style="italic")
    console.print(table)


def _layout(offer: Offer) -> str:
    """The layout in the field's own words, degrees of one left out."""
    recipe = offer.recipe
    parallel = recipe.parallel
    degrees = {
        "tp": parallel.tp, "pp": parallel.pp, "vpp": parallel.vpp, "cp": parallel.cp,
        "ep": parallel.ep, "etp": parallel.expert_tp if recipe.model.experts else 1,
    }  # fmt: skip
    words = [f"{name} {value}" for name, value in degrees.items() if value > 1]
    words += [f"dp {data_parallel(recipe)}", f"micro {recipe.batch.micro}"]
    words += ["sequence"] if parallel.sequence else []
    words += [f"ZeRO {recipe.optim.zero}"] if recipe.optim.zero else []
    return f"{' '.join(words)}, {recompute_text(recipe)}"


def _explain(tuning: Tuning, console: Console) -> None:
    winner, own = tuning.found.offers[0], tuning.found.own
    console.print()
    if not winner.overrides:
        console.print("The recipe's own layout is the best.")
        return
    if own is not None:
        before, after = tuning.recipe.gpus, winner.recipe.gpus
        on = "" if before == after else f" (own on {before} GPUs, first on {after})"
        console.print(f"Why the first wins: exposed seconds of a step{on}", style="italic")
        console.print(_difference(own, winner, why(tuning.found, winner)))
        console.print()
    console.print("paste:", shlex.join(winner.overrides), soft_wrap=True)
    tight = 1.0 / (1.0 + memory_error(winner.recipe))  # as in a plan's verdict
    if winner.memory_share is not None and winner.memory_share > tight:
        says = "memory is tight: within the plan's own error; `--within memory=0.9` keeps a margin"
        console.print(says, soft_wrap=True)


def _difference(own: StepTime, winner: Offer, saved: Mapping[str, float]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("exposed")
    for name in ("own", "first", "saves"):
        table.add_column(name, justify="right")
    for key in sorted(saved, key=lambda each: -abs(saved[each])):
        if abs(saved[key]) >= SHOWN * float(own.seconds):
            before, after = own.breakdown[key], winner.step.breakdown[key]
            name = key.replace("_", " ")
            table.add_row(name, f"{before:.3f}", f"{after:.3f}", f"{saved[key]:+.3f}")
    total = float(own.seconds) - float(winner.step.seconds)
    table.add_row("step", f"{own.seconds:.3f}", f"{winner.step.seconds:.3f}", f"{total:+.3f}")
    return table


def _sizes(sizes: Sequence[Sized], console: Console) -> None:
    table = Table(box=None, pad_edge=False)
    for name in ("parameters", "tokens", "operations", "days"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("law", overflow="fold")
    for one in sizes:
        size, days = one.size, "" if one.days is None else f"{one.days:.3g}"
        amounts = [f"{each:.3g}" for each in (size.parameters, size.tokens, size.flops)]
        table.add_row(*amounts, days, size.law)
    console.print()
    console.print("Compute-optimal sizes, days at the first layout's rate", style="italic")
    console.print(table)
