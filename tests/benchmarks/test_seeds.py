"""The known runs: all there, and each says what it compares."""

import json

import pytest

from benchmarks.seeds import main


def test_every_known_run_has_a_row(capsys: pytest.CaptureFixture[str]) -> None:
    """OPT, GLM, BLOOM, LLaMA, four MT-NLG, MLPerf, and the 20 projected cells."""
    assert main(["--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]

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


def test_steps_and_the_run_of_mlperf_are_close(capsys: pytest.CaptureFixture[str]) -> None:
    """Where layout and software are published."""
    main(["--json"])
    rows = json.loads(capsys.readouterr().out)["rows"]
    close = [row for row in rows if row["quantity"] in ("step_seconds", "minutes")]

    errors = [abs(row["error_percent"]) for row in close if row["published"]]
    assert len(errors) == 4
    assert max(errors) < 12
