"""Runs beside their plans, and the correction that they give."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from llmtrain.config.calibration import Calibration
from llmtrain.config.sizes import memory_text
from llmtrain.runs.calibrate import Measured


def show_measured(runs: Sequence[Measured], found: Calibration, console: Console) -> None:
    """One line for each run, then what is left to err."""
    table = Table(box=None, pad_edge=False)
    for name in ("run", "steps", "step", "plan", "factor", "memory"):
        table.add_column(name, justify="left" if name == "run" else "right")
    for run in runs:
        table.add_row(
            run.name,
            str(run.steps),
            f"{run.seconds:.3g} ± {run.seconds_error:.1g} s",
            "unknown" if run.planned is None else f"{run.planned:.3g} s",
            "" if run.factor is None else f"{run.factor:.3f}",
            memory_text(max(s.measured for s in run.stages)) if run.stages else "",
        )
    console.print(table)
    shapes = len({run.shape for run in runs})
    if shapes == 1 and found.step_error is not None:
        says = "all runs are of one shape: how far others differ is taken from published runs"
        console.print(says)


def calibration_json(runs: Sequence[Measured], found: Calibration, path: Path) -> dict[str, Any]:
    """The same for ``--json``."""
    return {
        "calibration": asdict(found),
        "file": str(path),
        "runs": [
            {
                "name": run.name,
                "steps": run.steps,
                "step_seconds": run.seconds,
                "step_seconds_error": run.seconds_error,
                "planned_step_seconds": run.planned,
                "stage_memory_bytes": [stage.measured for stage in run.stages],
                "planned_stage_memory_bytes": [s.states + s.moving for s in run.stages],
            }
            for run in runs
        ],
    }
