"""What is shown of a run while it lives."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from llmtrain.runs import follow as module
from llmtrain.runs.events import note
from llmtrain.runs.follow import follow
from llmtrain.runs.state import State, read_state

RunWith = Callable[..., Path]


@pytest.fixture
def folder(run_with: RunWith) -> Path:
    """A run of four steps that has begun."""
    folder = run_with(steps=4)
    note(folder, "started")
    return folder


def steps(folder: Path, count: int) -> Callable[[], bool]:
    """A life of ``count`` looks, with a step before each."""
    done = iter(range(1, count + 1))

    def alive() -> bool:
        step = next(done, None)
        if step is None:
            note(folder, "finished")
            return False
        row = {"step": step, "loss": 5.0 - step, "tokens_per_second": 1000.0}
        with (folder / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")
        return True

    return alive


def running(folder: Path) -> State:
    """The state of a run whose job is there."""
    return read_state(folder, "here")


def test_lines_where_there_is_no_terminal(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Now and then a line; the last state is the answer."""
    monkeypatch.setattr(module, "PLAIN_SECONDS", 0.0)
    monkeypatch.setattr(module, "POLL_SECONDS", 0.0)
    console = Console(file=io.StringIO(), width=100)
    state = follow(folder, steps(folder, 3), console, running)
    assert isinstance(console.file, io.StringIO)
    shown = [line for line in console.file.getvalue().splitlines() if "step" in line]

    assert shown == [
        "running · step 1 of 4 · loss 4.000 · 1,000 tokens/s",
        "running · step 2 of 4 · loss 3.000 · 1,000 tokens/s",
        "running · step 3 of 4 · loss 2.000 · 1,000 tokens/s",
    ]
    assert (state.status, state.step) == ("finished", 3)


def test_a_bar_on_a_terminal(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps and figures on one line."""
    monkeypatch.setattr(module, "POLL_SECONDS", 0.0)
    console = Console(file=io.StringIO(), width=100, force_terminal=True, color_system=None)
    state = follow(folder, steps(folder, 4), console, running)
    assert isinstance(console.file, io.StringIO)

    assert "4/4 · loss 1.000 · 1,000 tokens/s" in console.file.getvalue()
    assert (state.status, state.step) == ("finished", 4)
