"""``llmtrain status`` and ``logs`` on runs that have ended."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Cli


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
        ["run", "status", "step", "loss", "tokens/s", "checkpoint", "left"],
        [beta, "failed", "0/3"],
        [alpha, "finished", "3/3", "2.5000", "100", "3"],
    ]


def test_one_run(cli: Cli, runs: tuple[str, str]) -> None:
    """Its figures, its folder and its curve."""
    lines = cli("status", "alpha").out.splitlines()

    assert [line.split() for line in lines[:7] if not line.startswith("step time")] == [
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
    known = {
        "name": runs[1],
        "path": str(Path.cwd() / "outputs" / runs[1]),
        "status": "failed",
        "step": 0,
        "steps": 3,
        "loss": None,
        "tokens_per_second": None,
        "step_seconds": None,
        "checkpoint": None,
        "error": "no memory",
        "slow_ranks": [],
        "stragglers": [],
        "memory_by_stage": [],
        "repeated_steps": 0,
    }
    found = json.loads(cli("status", "beta", "--json").out)

    assert {key: value for key, value in found.items() if key in known} == known
    planned = {key for key in found if key.startswith("planned") and found[key] is not None}
    assert planned == {"planned_memory_bytes"}
    assert {found[key] for key in set(found) - set(known) - planned} == {None}


@pytest.mark.parametrize("word", ["INF", "NAN", "-INF"])
def test_a_loss_that_is_no_finite_number(cli: Cli, runs: tuple[str, str], word: str) -> None:
    """A program prints what JSON has no word for: null there, and nothing else breaks."""
    folder = Path("outputs", runs[0])
    (folder / "metrics.jsonl").unlink()
    line = (
        "iteration {0}/ 3 | elapsed time per iteration (ms): {1} | lm loss: {1} | grad norm: {1} |"
    )
    said = "\n".join(line.format(step, value) for step, value in enumerate((2.5, 2.4, word), 1))
    (folder / "logs" / "launcher.log").write_text(f"{said}\n")
    words: tuple[list[str], ...] = (
        [],
        ["--all"],
        ["--watch"],
        ["alpha"],
        ["alpha", "--prometheus", "metrics"],
    )
    shown = [cli("status", *each) for each in (*words, ["alpha", "--json"], ["--json"])]
    shown += [cli("logs", "alpha"), cli("diff", "alpha", "beta"), cli("why", "alpha")]

    assert [each.status for each in shown] == [0] * len(shown)
    assert "│" in shown[3].out
    assert "loss" not in Path("metrics").read_text()
    assert json.loads(shown[5].out, parse_constant=pytest.fail)["loss"] is None
    (_, alpha) = json.loads(shown[6].out, parse_constant=pytest.fail)["runs"]
    assert (alpha["step"], alpha["loss"]) == (3, None)
    assert "internal error" not in cli("calibrate", "alpha").err


def test_what_to_type_next(cli: Cli, runs: tuple[str, str]) -> None:
    """On stderr, by what has become of the run."""
    alpha, beta = runs

    assert cli("status", "alpha").err == f"logs:   llmtrain logs {alpha}\n"
    assert cli("status", "beta").err.splitlines() == [
        f"why:    llmtrain why {beta}",
        f"logs:   llmtrain logs {beta}",
        f"go on:  llmtrain resume {beta}",
    ]
    assert cli("logs", "alpha").err == f"status: llmtrain status {alpha}\n"


def test_what_to_type_next_to_the_table(cli: Cli, runs: tuple[str, str]) -> None:
    """Of the newest run, also when watching ends; programs get none."""
    table = [f"{verb} {runs[1]}" for verb in ("status: llmtrain status", "why:    llmtrain why")]

    assert cli("status").err.splitlines()[:2] == table
    assert cli("status", "--watch").err.splitlines()[:2] == table
    assert cli("status", "alpha", "--watch").err == f"logs:   llmtrain logs {runs[0]}\n"
    assert cli("status", "--json").err == ""


@pytest.mark.usefixtures("runs")
def test_watching_ends_when_nothing_runs(cli: Cli) -> None:
    """It then has shown what status shows; a document cannot be watched."""
    assert cli("status", "--watch").out == cli("status").out
    assert cli("status", "alpha", "--watch").out == cli("status", "alpha").out
    assert cli("status", "--watch", "--json").status == 2


@pytest.mark.usefixtures("runs")
def test_metrics_for_prometheus(cli: Cli) -> None:
    """A file that is replaced in one step."""
    Path("all.prom").write_text("old")
    cli("status", "--prometheus", "all.prom")
    lines = Path("all.prom").read_text().splitlines()

    assert sum(line.startswith("llmtrain_status{") for line in lines) == 2
    assert any(line.startswith("llmtrain_loss{") and line.endswith(" 2.5") for line in lines)
    assert [path.name for path in Path().glob(".all*")] == []
    assert cli("status", "--prometheus", "nowhere/all.prom").status == 5


def test_old_runs_are_shown_when_asked_for(
    cli: Cli, runs: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """JSON always has them."""
    monkeypatch.setattr("llmtrain.cli.watching.RECENT", 1)
    done = cli("status")

    assert (runs[0] in done.out, runs[1] in done.out) == (False, True)
    assert done.err.splitlines()[0] == "1 older runs: llmtrain status --all"
    assert runs[0] in cli("status", "--all").out
    assert len(json.loads(cli("status", "--json").out)["runs"]) == 2


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
    assert cli("logs", "alpha", "--grep", "says .*o$").out == "rank-0: rank 0 says hello\n"
    assert cli("logs", "alpha", "--grep", "(").status == 2
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
