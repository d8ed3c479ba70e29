"""What a run writes down and shows."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import pytest

from llmtrain.trainer.progress import Line, describe
from llmtrain.trainer.records import Compute, Metrics, Row, event

if TYPE_CHECKING:
    from pathlib import Path

    from tests.trainer.conftest import Lab

ROW = Row(
    step=3,
    loss=2.5,
    grad_norm=float("nan"),
    learning_rate=1e-3,
    step_seconds=0.5,
    tokens_per_second=2048.0,
    memory_bytes=1000,
    stage_memory_bytes=(1000, 900),
    compute_seconds=Compute.of([0.1, 0.4, 0.2, 0.3]),
)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_row_has_the_promised_keys(lab: Lab, tmp_path: Path) -> None:
    """metrics.jsonl has the keys of the design, and null for what is not a number."""
    metrics = Metrics(tmp_path, lab.trial().recipe, print)
    metrics.write(ROW)
    metrics.close()

    assert json.loads((tmp_path / "metrics.jsonl").read_text()) == {
        "step": 3,
        "loss": 2.5,
        "grad_norm": None,
        "learning_rate": 1e-3,
        "step_seconds": 0.5,
        "tokens_per_second": 2048.0,
        "memory_bytes": 1000,
        "stage_memory_bytes": [1000, 900],
        "compute_seconds": {
            "min": 0.1,
            "median": 0.25,
            "max": 0.4,
            "slowest": [
                {"rank": 1, "seconds": 0.4},
                {"rank": 3, "seconds": 0.3},
                {"rank": 2, "seconds": 0.2},
            ],
        },
    }
    assert list((tmp_path / "logs" / "tensorboard").glob("events.out.tfevents.*"))


def test_events_are_appended(tmp_path: Path) -> None:
    """Each event is a line with its time, its step and whatever else is known."""
    event(tmp_path, "started", 0, ranks=2)
    event(tmp_path, "stopped", 7)
    first, second = map(json.loads, (tmp_path / "events.jsonl").read_text().splitlines())

    assert (first["event"], first["step"], first["ranks"]) == ("started", 0, 2)
    assert (second["event"], second["step"]) == ("stopped", 7)
    assert first["time"] <= second["time"]


def test_without_a_terminal_there_are_plain_lines() -> None:
    """The first and the last step are shown as text, without control characters."""
    output = io.StringIO()
    line = Line(output, "tiny", steps=3)
    line.show(ROW)
    line.close()

    assert output.getvalue() == "step 3/3  loss 2.5000  2,048 tokens/s  0 s left\n"
    assert describe(ROW, 7) == "step 3/7  loss 2.5000  2,048 tokens/s  2 s left"
