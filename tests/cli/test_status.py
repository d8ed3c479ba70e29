"""``llmtrain status`` and ``logs`` on runs that have ended."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., Any]


@pytest.fixture
def runs(stand_in: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """Names of a run that finished and of one that failed later."""
    names = []
    for name, fail in (("alpha", ""), ("beta", "no memory")):
        monkeypatch.setenv("FAIL", fail)
        cli("run", "recipe=gpt-tiny", f"run.name={name}", "run.steps=3")
        (folder,) = Path("outputs").glob(f"{name}-*")
        names.append(folder.name)
    return names[0], names[1]


def test_no_runs(cli: Cli) -> None:
    """Says where it looked."""
    assert cli("status").out == "no runs in outputs\n"
    assert json.loads(cli("status", "--json").out) == {"runs": []}


def test_all_runs(cli: Cli, runs: tuple[str, str]) -> None:
    """A line each, the newest first."""
    alpha, beta = runs
    rows = [line.split() for line in cli("status").out.splitlines()]

    assert rows == [
        ["run", "status", "step", "loss", "tokens/s", "checkpoint"],
        [beta, "failed", "0/3"],
        [alpha, "finished", "3/3", "2.5000", "100", "3"],
    ]


def test_one_run(cli: Cli, runs: tuple[str, str]) -> None:
    """Its figures, its folder and its curve."""
    lines = cli("status", "alpha").out.splitlines()

    assert [line.split() for line in lines[:7]] == [
        ["run", runs[0]],
        ["status", "finished"],
        ["step", "3/3"],
        ["loss", "2.5000"],
        ["tokens/s", "100"],
        ["checkpoint", "3"],
        ["folder", str(Path.cwd() / "outputs" / runs[0])],
    ]
    assert lines[-1].split() == ["1", "3"]


def test_a_long_path_is_not_cut(cli: Cli, runs: tuple[str, str], tmp_path: Path) -> None:
    """Where the terminal is narrower, it goes on in the next line."""
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    Path("outputs", runs[0]).rename(deep / runs[0])
    shown = cli("status", str(deep / runs[0])).out

    assert str(deep / runs[0]) in "".join(line.strip() for line in shown.splitlines())


def test_one_run_as_json(cli: Cli, runs: tuple[str, str]) -> None:
    """Every key, null where nothing is known."""
    assert json.loads(cli("status", "beta", "--json").out) == {
        "name": runs[1],
        "path": str(Path.cwd() / "outputs" / runs[1]),
        "status": "failed",
        "step": 0,
        "steps": 3,
        "loss": None,
        "tokens_per_second": None,
        "checkpoint": None,
        "error": "no memory",
    }


LAUNCHER = (
    "-m torch.distributed.run --standalone --local-addr 127.0.0.1 --nproc-per-node 2 "
    "-m llmtrain.trainer ."
)


@pytest.mark.usefixtures("runs")
def test_logs(cli: Cli) -> None:
    """The launcher's and every rank's, marked; one rank's alone, as it is."""
    assert cli("logs", "alpha").out == f"launcher: {LAUNCHER}\nrank-0: rank 0 says hello\n"
    assert cli("logs", "alpha", "--follow").out == cli("logs", "alpha").out
    assert cli("logs", "alpha", "--rank", "0").out == "rank 0 says hello\n"
    assert json.loads(cli("logs", "alpha", "--json").out) == {
        "lines": [
            {"log": "launcher", "line": LAUNCHER},
            {"log": "rank-0", "line": "rank 0 says hello"},
        ]
    }


def test_logs_that_are_not_there(cli: Cli, runs: tuple[str, str]) -> None:
    """Status 6; and a document cannot be followed."""
    done = cli("logs", "alpha", "--rank", "7")
    both = cli("logs", "alpha", "--json", "--follow")

    assert (done.status, done.out) == (6, "")
    assert done.err == f"error: {runs[0]} has no log of rank 7\n"
    assert (both.status, json.loads(both.out)["errors"][0]["code"]) == (2, "usage")


@pytest.mark.usefixtures("runs")
def test_resume_refuses_a_finished_run(cli: Cli) -> None:
    """There is nothing left to do; a failed one may be tried again."""
    assert cli("resume", "alpha").err.startswith("error: alpha-")
    assert cli("resume", "alpha").status == 5
    assert cli("resume", "beta").status == 6
