"""Runs as a text file for Prometheus: what node_exporter's textfile collector picks up."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from llmtrain.config.errors import LaunchError, Problem
from llmtrain.runs.detail import Detail
from llmtrain.runs.state import State

Value = Callable[[State, Detail], float | None]

GAUGES: Mapping[str, tuple[str, Value]] = {
    "step": ("The last step", lambda state, _: state.step),
    "steps": ("Steps of the whole run", lambda state, _: state.steps),
    "loss": ("Mean nats per token", lambda state, _: state.loss),
    "tokens_per_second": ("Of all ranks", lambda state, _: state.tokens_per_second),
    "step_seconds": ("Median of the last steps", lambda _, detail: detail.median_step_seconds),
    "planned_step_seconds": ("Of the plan", lambda _, detail: detail.planned_step_seconds),
    "mfu": ("Model FLOP utilisation", lambda _, detail: detail.mfu),
    "left_seconds": ("To the last step", lambda _, detail: detail.left_seconds),
    "memory_bytes": ("Of the rank with the most", lambda state, _: state.memory_bytes),
    "checkpoint_step": ("Of the newest checkpoint", lambda state, _: state.checkpoint),
    "silent_seconds": ("Since the last step", lambda _, detail: detail.silent_seconds),
}
"""Name, help and value; a value that is not known is left out."""


def text(runs: Iterable[tuple[State, Detail]]) -> str:
    """In Prometheus' text format, version 0.0.4."""
    listed = list(runs)
    return "".join(f"{line}\n" for line in _lines(listed))


def _lines(runs: list[tuple[State, Detail]]) -> Iterator[str]:
    yield from _head("status", "1 for the status that the run has")
    for state, _ in runs:
        yield f"llmtrain_status{{{_run(state)},status={_quoted(state.status)}}} 1"
    for name, (says, value) in GAUGES.items():
        known = [(state, value(state, detail)) for state, detail in runs]
        found = [(state, number) for state, number in known if number is not None]
        yield from _head(name, says) if found else ()
        for state, number in found:
            yield f"llmtrain_{name}{{{_run(state)}}} {number}"


def _head(name: str, says: str) -> Iterator[str]:
    yield f"# HELP llmtrain_{name} {says}"
    yield f"# TYPE llmtrain_{name} gauge"


def _run(state: State) -> str:
    return f"run={_quoted(state.name)}"


def _quoted(value: str) -> str:
    escaped = value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
    return f'"{escaped}"'


def write(path: Path, content: str) -> None:
    """Replace ``path`` in one step: a collector never reads half of it.

    Raises:
        LaunchError: if it cannot be written.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_text(content, encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        says = f"{path} cannot be written: {error.strerror}"
        raise LaunchError(Problem(code="prometheus", says=says)) from error
