"""A search as a person reads it."""

from rich.console import Console
from rich.table import Table

from llmtrain.planner.search.rank import Offer
from llmtrain.planner.search.result import Tuning, why


def show_tuning(tuning: Tuning, console: Console) -> None:
    """What was searched, the ranked table, why the winner wins, what to paste."""
    found = tuning.found
    console.print(
        f"{found.legal:,} legal layouts, {found.pruned:,} do not fit, "
        f"{found.timed:,} timed (rank orders and overlaps counted apart)"
    )
    if found.own is not None:
        says = "" if found.own_fits else ", which cannot be launched as it is"
        console.print(f"the recipe's own layout: {found.own.seconds:.2f} s a step{says}")
    if not found.offers:
        console.print("no layout keeps all limits")
    else:
        console.print(_ranked("Best layouts", tuning.found.offers))
        _explain(tuning, console)
    if found.front:
        console.print(_ranked("Days against GPU-hours", found.front))
    for size in tuning.sizes:
        console.print(
            f"compute-optimal: {size.parameters:.3g} parameters on {size.tokens:.3g} tokens, "
            f"{size.flops:.3g} operations ({size.law})"
        )


def _ranked(title: str, offers: tuple[Offer, ...]) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for name in ("step s", "GPUs", "days", "GPU-hours"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("changes", overflow="fold")
    for offer in offers:
        good = offer.outlook.goodput if offer.outlook else None
        table.add_row(
            f"{offer.step.seconds:.3f}",
            str(offer.recipe.gpus),
            "" if good is None else f"{good.days:.3g}",
            "" if good is None else f"{good.gpu_hours:,.0f}",
            " ".join(offer.overrides) or "none: the recipe's own",
        )
    return table


def _explain(tuning: Tuning, console: Console) -> None:
    winner = tuning.found.offers[0]
    saved = why(tuning.found, winner)
    table = Table(title="Why the first wins", title_justify="left", box=None, pad_edge=False)
    table.add_column("exposed")
    table.add_column("seconds saved a step", justify="right")
    for name, seconds in sorted(saved.items(), key=lambda item: -abs(item[1])):
        if abs(seconds) >= 0.0005:
            table.add_row(name.replace("_", " "), f"{seconds:+.3f}")
    console.print(table)
    if winner.overrides:
        console.print("paste:", " ".join(winner.overrides), soft_wrap=True)
