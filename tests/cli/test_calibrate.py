"""``llmtrain calibrate``: later plans are corrected, and say so."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Cli

RECIPE = ("recipe=llama2-7b", "gpus=16")


@pytest.fixture
def run(cli: Cli) -> Path:
    """A run that took twice what was planned."""
    folder = Path("outputs/slow-1")
    folder.mkdir(parents=True)
    shown = json.loads(cli("run", *RECIPE, "--dry-run", "--json").out)
    for name in ("recipe.yaml", "plan.json", "launch.json"):
        (folder / name).write_text(shown["launch"]["files"][name])
    seconds = 2 * shown["plan"]["step_seconds"]
    rows = [json.dumps({"step": n, "loss": 1, "step_seconds": seconds}) for n in range(20)]
    (folder / "metrics.jsonl").write_text("\n".join(rows) + "\n")
    return folder


def plan(cli: Cli, *more: str) -> dict[str, Any]:
    """What is planned now."""
    found: dict[str, Any] = json.loads(cli("plan", *RECIPE, *more, "--json").out)
    return found


def test_later_plans_are_corrected(run: Path, cli: Cli) -> None:
    """Of this cluster and program; they say so, explain it, and can do without."""
    before = plan(cli)

    done = cli("calibrate", "slow")

    assert done.status == 0, done.err
    assert "step_factor: 2.0" in done.out.splitlines()
    assert plan(cli)["step_seconds"] == pytest.approx(2 * before["step_seconds"])
    line = "calibrated  step × 2, memory × 1, by 1 run of dgx-h100 (megatron-core-2024, bf16)"
    assert line in [each.rstrip() for each in cli("plan", *RECIPE).out.splitlines()]
    assert "slow-1" in cli("plan", *RECIPE, "--explain", "calibration").out
    off = plan(cli, "calibration.use=false")
    assert (off["step_seconds"], off["calibration"]) == (before["step_seconds"], None)
    assert plan(cli, "precision=fp16")["calibration"] is None


def test_a_file_of_ones_own(run: Path, cli: Cli, tmp_path: Path) -> None:
    """``-o`` leaves later plans alone; the same as JSON."""
    before = plan(cli)

    done = cli("calibrate", "slow", "-o", "mine.yaml", "--json")

    assert json.loads(done.out)["calibration"]["runs"] == ["slow-1"]
    assert "step_factor: 2.0" in Path("mine.yaml").read_text().splitlines()
    assert plan(cli) == before


def test_what_cannot_be_calibrated(run: Path, cli: Cli) -> None:
    """Too few steps are a failure of the run; a run that is not there too."""
    (run / "metrics.jsonl").write_text("")

    assert cli("calibrate", "slow").status == 6
    assert cli("calibrate", "none").status == 6
