"""``llmtrain run`` here: to each of its ends, and where it cannot."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Cli, the_run


@pytest.mark.parametrize("arguments", [(), ("backend.path=/opt/megatron lm",)])
def test_a_run_that_is_not_for_this_machine(cli: Cli, arguments: tuple[str, ...]) -> None:
    """It says what is missing here and what to type, and leaves nothing behind."""
    done = cli("run", "recipe=gpt3-530b", *arguments)

    assert (done.status, done.out) == (5, "")
    assert done.err == (
        "error: 2240 GPUs on 280 nodes (dgx-a100-80g) are not on this machine\n"
        "  hint: `llmtrain run recipe=gpt3-530b --dry-run` shows what would be submitted; "
        "`site=NAME` names the cluster to run on\n"
    )
    assert list(Path().iterdir()) == []


def test_gpus_that_are_not_here(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """One node's worth of them."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    done = cli("run", "recipe=gpt-tiny", "cluster=local-gpu")

    assert done.err.startswith("error: the run needs 2 GPUs; this machine has 1\n")
    assert (done.status, list(Path().iterdir())) == (5, [])


@pytest.mark.usefixtures("stand_in")
def test_a_run_to_its_end(cli: Cli) -> None:
    """Progress and what to type next on stderr, nothing on stdout."""
    done = cli("run", "recipe=gpt-tiny", "run.name=mine", "run.steps=3")
    name = the_run().name
    lines = done.err.splitlines()

    assert (done.status, done.out) == (0, "")
    assert lines[0] == f"{name} in {Path.cwd() / 'outputs'}"
    assert "loss (nats per token)" in lines
    assert lines[-4:] == [
        "finished at step 3 of 3, loss 2.500",
        f"run:    {Path.cwd() / 'outputs' / name}",
        f"status: llmtrain status {name}",
        f"logs:   llmtrain logs {name}",
    ]
    assert (the_run() / "logs/launcher.log").read_text() == (
        "-m torch.distributed.run --standalone --local-addr 127.0.0.1 --nproc-per-node 2 "
        "-m llmtrain.trainer .\n"
    )


@pytest.mark.usefixtures("stand_in")
def test_a_run_as_json(cli: Cli) -> None:
    """Its last state, which ``status --json`` has too, beside what the plan says."""
    done = cli("run", "recipe=gpt-tiny", "run.steps=3", "--json")
    state = json.loads(done.out)

    assert (state["status"], state["step"], state["checkpoint"]) == ("finished", 3, 3)
    assert json.loads(cli("status", "latest", "--json").out).items() >= state.items()


@pytest.mark.usefixtures("stand_in")
def test_a_run_that_fails(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Status 6, and why."""
    monkeypatch.setenv("FAIL", "[rank0]: out of memory")
    done = cli("run", "recipe=gpt-tiny", "run.name=mine", "--json")
    name = the_run().name
    (error,) = json.loads(done.out)["errors"]

    assert (done.status, error["code"]) == (6, "run_failed")
    assert error["message"] == f"{name}: [rank0]: out of memory"
    assert f"error: {name}: [rank0]: out of memory" in done.err.splitlines()
    assert json.loads(cli("status", name, "--json").out)["error"] == "[rank0]: out of memory"
    assert "[rank0]: out of memory" in cli("status", name).out


@pytest.mark.usefixtures("stand_in")
def test_where_runs_go(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the site's place, from where the path is what to type; LLMTRAIN_RUNS wins."""
    site = f"+site.runs='{tmp_path}/of the site'"
    first = cli("run", "recipe=gpt-tiny", "run.steps=3", site)
    (folder,) = (tmp_path / "of the site").iterdir()

    assert f"status: llmtrain status '{folder}'" in first.err.splitlines()
    assert cli("status", str(folder)).status == 0

    monkeypatch.setenv("LLMTRAIN_RUNS", str(tmp_path / "mine"))
    second = cli("run", "recipe=gpt-tiny", "run.steps=3", site)
    (other,) = (tmp_path / "mine").iterdir()

    assert f"status: llmtrain status {other.name}" in second.err.splitlines()
    assert not Path("outputs").exists()


@pytest.mark.usefixtures("stand_in")
def test_a_run_without_a_place(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is started that could not be written down."""
    Path("file").touch()
    monkeypatch.setenv("LLMTRAIN_RUNS", "file")
    done = cli("run", "recipe=gpt-tiny")

    assert (done.status, done.out) == (5, "")
    assert done.err.startswith("error: the run's folder cannot be written: ")
    assert done.err.endswith("  hint: `LLMTRAIN_RUNS` or `site.runs` says where runs go\n")
