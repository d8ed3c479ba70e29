"""``llmtrain resume``: what it would load is looked at before anything starts."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Cli


@pytest.fixture
def run(cli: Cli, stand_in: Path) -> Path:
    """A run that has ended, whose trainer wrote no checkpoint."""
    done = cli("run", "recipe=gpt-tiny", "run.name=mine", "run.steps=3")
    assert done.status == 0, done.err
    return next(Path("outputs").glob("mine-*")).absolute()


def test_nothing_to_go_on_from(run: Path, cli: Cli) -> None:
    """``--check`` says so, and starts nothing."""
    before = (run / "events.jsonl").read_text()

    done = cli("resume", "mine", "--check")

    assert (done.status, done.out) == (0, "there is no checkpoint: it begins at step 1\n")
    assert done.err == f"go on:  llmtrain resume {run.name}\n"
    changed = cli("resume", "mine", "run.steps=4", "--check")
    assert changed.err == f"go on:  llmtrain resume {run.name} run.steps=4\n"
    assert cli("resume", "mine", "--check", "--json").err == ""
    assert (run / "events.jsonl").read_text() == before


def test_a_broken_checkpoint_is_refused(run: Path, cli: Cli) -> None:
    """Status 5 with the file's name, as text and as JSON; the job is not started."""
    (run / "checkpoints" / "step-00000003").mkdir()
    (run / "checkpoints" / "step-00000003" / ".metadata").write_bytes(b"\x80")
    says = (
        "step-00000003 will not load: step-00000003 is not whole: metadata.json, which is written "
        "last, is missing, and there is no checkpoint that is whole"
    )
    before = (run / "events.jsonl").read_text()

    done = cli("resume", "mine", "run.steps=4")
    looked = cli("resume", "mine", "--check", "--json")
    assert cli("resume", "mine", "--check").err == f"status: llmtrain status {run.name}\n"

    assert (done.status, done.err.splitlines()[-1]) == (5, f"error: {says}")
    assert (looked.status, json.loads(looked.out)["outcome"]) == (5, "no")
    assert (run / "events.jsonl").read_text() == before


def test_another_layout(run: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder is prepared anew, says what was changed, and is what was prepared."""
    monkeypatch.setenv("STEPS", "5")
    assert cli("resume", "mine").err == f"error: {run.name} has finished all 3 steps\n"

    done = cli("resume", "mine", "run.steps=5", "gpus=1", "parallel.tp=1")

    assert done.status == 0, done.err
    assert "warning: `run.steps` = 3 → 5 changes the experiment: how long it learns" in done.err
    assert json.loads((run / "plan.json").read_text())["parallel"]["tp"] == 1
    events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    (changed,) = [event for event in events if event["event"] == "changed"]
    assert changed["overrides"] == ["run.steps=5", "gpus=1", "parallel.tp=1"]
    assert json.loads(cli("status", "mine", "--json").out)["status"] == "finished"
    assert cli("verify", "mine").status == 0


def test_a_mistake_in_a_change(run: Path, cli: Cli) -> None:
    """Is answered as it is by ``run``; nothing is changed."""
    before = (run / "recipe.yaml").read_text()

    done = cli("resume", "mine", "parallel.tpp=1")

    assert (done.status, "Did you mean `parallel.tp`?" in done.err) == (3, True)
    assert (run / "recipe.yaml").read_text() == before


def test_lost_checkpoints(run: Path, cli: Cli) -> None:
    """A folder that was emptied, or a link to what is not mounted: no silent start at step 1."""
    with (run / "events.jsonl").open("a") as events:
        events.write('{"event": "checkpoint", "step": 3, "name": "step-00000003"}\n')

    done = cli("resume", "mine", "--check")

    assert (done.status, done.out) == (
        5,
        "will not load: step-00000003 was written and is gone; "
        f"`llmtrain run recipe={run}/recipe.yaml` begins another run\n",
    )
    (run / "checkpoints" / "newest").unlink()
    (run / "checkpoints").rmdir()
    (run / "checkpoints").symlink_to("/not/mounted")
    done = cli("resume", "mine", "run.steps=4")
    says = "will not load: checkpoints is a link to /not/mounted, which is not there"
    assert (done.status, done.err) == (5, f"error: {run.name}/checkpoints {says}\n")
