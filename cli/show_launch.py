"""A launch as a person reads it."""

import re

from rich.console import Console
from rich.syntax import Syntax
from rich.table import Table

from llmtrain.launchers.launch import Command, Launch, Variable


def show_launch(launch: Launch, console: Console) -> None:
    """Mounts and environment with their sources, commands by rank, the script, the files."""
    if launch.mounts:
        console.print()
        console.print(_mounts(launch))
    for scope, variables in _by_scope(launch.environment).items():
        console.print()
        console.print(_environment(scope, variables))
    if launch.later:
        console.print()
        console.print(_environment("the job, when it runs", list(launch.later)))
    console.print()
    for each in launch.commands or (_whole(launch),):
        _command(each, console)
    for note in launch.notes:
        console.print(note, markup=False, soft_wrap=True)
    console.print()
    console.print(f"{launch.script} (as it would be started)", style="bold")
    script, embedded, _ = launch.files[launch.script].rstrip("\n").partition("\nunpack() {\n")
    if embedded:
        script += "\n# … and the files below, as text; `--print sbatch` shows all of it"
    # Wrapping would change what is copied from the terminal.
    console.print(Syntax(script, "bash", theme="ansi_dark", word_wrap=False), soft_wrap=True)
    console.print()
    console.print(f"files of the run: {', '.join(launch.files)}", soft_wrap=True)
    for key in launch.missing:
        console.print(f"before this can start, `{key}` must be given")


def _mounts(launch: Launch) -> Table:
    table = Table(title="Mounts", title_justify="left", box=None, pad_edge=False)
    for name in ("node", "container", "source"):
        table.add_column(name, overflow="fold")
    for each in launch.mounts:
        read_only = " (read only)" if each.read_only else ""
        table.add_row(each.host, each.inside + read_only, each.source)
    return table


def _by_scope(variables: tuple[Variable, ...]) -> dict[str, list[Variable]]:
    """By who sets them: the cluster, a rule of the program, the site, the recipe."""
    found: dict[str, list[Variable]] = {}
    for each in variables:
        found.setdefault(re.split(r"[ :(;]", each.source)[0], []).append(each)
    return found


def _whole(launch: Launch) -> Command:
    per_node, total = launch.ranks_per_node, launch.nodes * launch.ranks_per_node
    shown = f"node n of {launch.nodes} starts ranks {per_node}n to {per_node}n+{per_node - 1}"
    where = shown if launch.nodes > 1 else f"ranks 0 to {total - 1}"
    return Command(where=where, words=launch.command)


def _command(command: Command, console: Console) -> None:
    console.print(f"Command: {command.where}", style="bold")
    console.print(" ".join(command.words), markup=False, soft_wrap=True)


def _environment(scope: str, variables: list[Variable]) -> Table:
    title = f"Environment: {scope}"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for name in ("name", "value", "reason", "source"):
        table.add_column(name, overflow="fold")
    for each in variables:
        table.add_row(each.name, each.value, each.reason, each.source)
    return table
