"""How errors and data are printed: data to stdout, everything else to stderr."""

import json
import os
import sys
import traceback
from typing import Any

from rich.console import Console
from rich.text import Text

from llmtrain.config.errors import LlmtrainError, PlanError, Problem, Repair

WIDTH = 120
"""Columns where there is no terminal to ask: tables in files and pipes are not cut at 80."""


def out() -> Console:
    """The console on stdout: data."""
    return _console(stderr=False)


def err() -> Console:
    """The console on stderr: everything that is not data."""
    return _console(stderr=True)


def _console(*, stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() or "COLUMNS" in os.environ else WIDTH
    # Names, values and errors are shown as they are: `[rank0]` is not a style, `:x:` no picture.
    return Console(
        stderr=stderr,
        width=width,
        highlight=False,
        soft_wrap=stderr,
        markup=False,
        emoji=False,
    )


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    # Arguments that are not UTF-8 hold lone surrogates; escaped so, they are JSON again.
    sys.stdout.write(text.encode(errors="backslashreplace").decode())


def print_error(error: LlmtrainError, *, as_json: bool, debug: bool) -> None:
    """The answer to a mistake: what, where, what is valid, what mends it.

    A plan that cannot be launched is shown first, so stdout has its errors already.
    """
    if as_json and not isinstance(error, PlanError):
        print_json({"errors": [problem.as_json() for problem in error.problems]})
    console = err()
    if debug:
        console.print("".join(traceback.format_exception(error)))
    print_problems(error.problems, console)


def print_problems(problems: tuple[Problem, ...], console: Console) -> None:
    """Each problem once; a repair that mends several stands with the first."""
    shown: set[Repair] = set()
    for problem in problems:
        console.print(Text.assemble(("error: ", "bold red"), _sentence(problem, shown)))
        if problem.where:
            console.print(Text(f"  set in {problem.where}"))
        if problem.hint:
            console.print(Text.assemble(("  hint: ", "cyan"), problem.hint))
        shown.update(problem.repairs)


def print_warnings(warnings: tuple[str, ...], console: Console) -> None:
    """One line for each."""
    for warning in warnings:
        console.print(Text.assemble(("warning: ", "yellow"), warning))


def _sentence(problem: Problem, shown: set[Repair]) -> str:
    repairs = [str(repair) for repair in problem.repairs if repair not in shown]
    if not repairs:
        return problem.message
    *first, last = repairs
    choices = f"{', '.join(first)} or {last}" if first else last
    return f"{problem.message}. Use {choices}"
