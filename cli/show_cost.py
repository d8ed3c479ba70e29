"""What the run of a plan costs: days, failures, checkpoints, money."""

from collections.abc import Iterator

from rich.console import Console
from rich.table import Table

from llmtrain.config.sizes import short, storage_text
from llmtrain.planner.checkpoints import checkpoint_bytes
from llmtrain.planner.outlook import Goodput, Outlook
from llmtrain.planner.plan import Plan


def show_cost(plan: Plan, console: Console) -> None:
    """Net and gross days with what stands between them, space, energy and money."""
    outlook = plan.outlook
    if outlook is None:
        console.print(f"a checkpoint weighs {storage_text(checkpoint_bytes(plan.recipe))}")
        return
    low, high = outlook.goodput.days_range
    line = f"{short(outlook.goodput.days)} days ({short(low)} to {short(high)}) with failures"
    console.print(line, style="bold")
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in _lines(outlook):
        table.add_row(name, value)
    console.print(table)


def _lines(outlook: Outlook) -> Iterator[tuple[str, str]]:
    length, good, space = outlook.length, outlook.goodput, outlook.checkpoints
    yield "net", f"{short(length.days)} days, {length.gpu_hours:,.0f} GPU-hours"
    yield "gross", f"goodput {good.fraction:.1%}, {good.gpu_hours:,.0f} GPU-hours{_money(outlook)}"
    yield (
        "failures",
        f"{short(good.failures)} expected, one in {short(good.hours_between_failures)} hours "
        f"({_rate(good)}); {good.restart_seconds:.0f} s to restart",
    )
    yield (
        "checkpoint",
        f"{storage_text(space.bytes)} in {good.checkpoint_seconds:.0f} s, "
        f"every {good.interval_steps:,} steps; best every {good.best_interval_steps:,}: goodput "
        f"{good.best_fraction:.1%}",
    )
    yield (
        "asynchronous",
        f"blocks {good.snapshot_seconds:.2g} s, safe after {good.persist_seconds:.0f} s more; best "
        f"every {good.asynchronous_interval_steps:,}: goodput {good.asynchronous_fraction:.1%}",
    )
    quota = "" if space.quota_bytes is None else f" of {storage_text(space.quota_bytes)} allowed"
    written = storage_text(space.bytes_per_day or 0)
    yield "space", f"{storage_text(space.kept_bytes)}{quota}, {written} written a day"
    yield (
        "spares",
        f"waiting for repairs adds {short(good.waiting_days)} days where no other node can be had; "
        f"one more spare node saves {short(good.spare_worth_days)}",
    )


def _rate(good: Goodput) -> str:
    """The failure rate and where it is from."""
    own = good.failure_rate_source.startswith("site.")
    whose = "the site's" if own else f"as {good.failure_rate_source}'s run"
    return f"{good.node_days_per_failure:g} node-days each, {whose}"


def _money(outlook: Outlook) -> str:
    good = outlook.goodput
    energy = "" if good.energy_mwh is None else f", {good.energy_mwh:,.0f} MWh"
    return energy + ("" if good.price is None else f", cost {good.price:,.0f}")
