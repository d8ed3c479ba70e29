"""The known runs: all there, and each says what it compares."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    """``python -m benchmarks.seeds --json``."""
    command = [sys.executable, "-m", "benchmarks.seeds", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    found: list[dict[str, Any]] = json.loads(done.stdout)["rows"]
    return found


def test_every_known_run_has_a_row(rows: list[dict[str, Any]]) -> None:
    """OPT, GLM, BLOOM, LLaMA, four MT-NLG, MLPerf, and the 20 projected cells."""
    runs = " ".join(row["run"] for row in rows)
    for name in ("OPT-175B", "GLM-130B", "BLOOM-176B", "LLaMA-65B", "4480", "MLPerf"):
        assert name in runs
    projected = [row for row in rows if row["quantity"] == "days_projected"]
    assert len(projected) == 20
    assert all("projected" in row["compares"] for row in projected)
    for row in rows:
        if row["quantity"] in ("net_days", "gross_days"):
            assert row["quantity"].partition("_")[0] in row["compares"]
        assert row["predicted"] > 0


def test_what_is_comparable_is_close(rows: list[dict[str, Any]]) -> None:
    """Where layout and software are published: steps, MLPerf's run, days net of failures."""
    close = [row for row in rows if row["quantity"] in ("step_seconds", "minutes", "net_days")]
    close = [row for row in close if row["published"] and "unpublished" not in row["compares"]]

    assert len(close) == 7
    assert max(abs(row["error_percent"]) for row in close) < 12
