"""``llmtrain why`` on runs and on files."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Cli, the_run

XID = "Nov 19 13:21:10 n17 kernel: NVRM: Xid (PCI:0000:4e:00): 79, GPU has fallen off the bus.\n"


def test_files_of_any_program(cli: Cli) -> None:
    """The first failure, where, and the line to leave the node out."""
    Path("dmesg.txt").write_text(XID)
    Path("out.log").write_text("[rank3]: RuntimeError: Connection closed by peer [10.0.0.1]:4\n")
    done = cli("why", "out.log", "dmesg.txt")
    rows = dict(line.split("  ", 1) for line in done.out.splitlines())

    assert (done.status, done.err) == (0, "")
    assert rows["cause"].strip() == "a GPU is broken"
    assert rows["first"].strip() == "on n17, 0000:4e:00"
    assert rows["exclude"].strip() == "--exclude=n17"
    assert rows["later"].strip().startswith("rank 3: ")


def test_a_run_that_failed(cli: Cli, stand_in: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its own last words; what to type next is on stderr."""
    monkeypatch.setenv("FAIL", "[Errno 28] No space left on device")
    cli("run", "recipe=gpt-tiny", "run.name=alpha", "run.steps=3")
    done = cli("why", "alpha")

    assert (
        done.out.splitlines()[0].split(maxsplit=1)[1].strip() == "a file system failed or is full"
    )
    assert done.err.splitlines()[-1].startswith("go on:  llmtrain resume alpha-")
    assert json.loads(cli("why", "alpha", "--json").out)["class"] == "file_system"


def test_a_run_that_finished(cli: Cli, stand_in: Path) -> None:
    """Has no cause."""
    cli("run", "recipe=gpt-tiny", "run.name=alpha", "run.steps=3")

    assert json.loads(cli("why", "alpha", "--json").out)["class"] == "none"
    assert "nothing failed: it has finished, step 3 of 3" in cli("why", "alpha").out


def test_a_run_of_which_nothing_failed(
    cli: Cli, stand_in: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Says how it stands, before and while it runs; of one that is lost a failure is missing."""
    cli("run", "recipe=gpt-tiny", "run.name=alpha", "run.steps=3")
    events = the_run() / "events.jsonl"
    begun = next(line for line in events.read_text().splitlines(True) if '"started"' in line)
    events.write_text("")
    new = cli("why", "alpha")
    events.write_text(begun)
    lost = cli("why", "alpha")
    monkeypatch.setattr("llmtrain.runs.state.presence", lambda folder: "here")
    runs = cli("why", "alpha")

    assert (new.status, "cause  nothing failed: it has not started" in new.out) == (0, True)
    assert new.err.startswith("go on:  llmtrain resume alpha-")
    assert "cause  unknown" in lost.out
    assert (runs.status, "it is running, step 3 of 3" in runs.out) == (0, True)
    assert f"llmtrain logs {the_run().name} --follow" in runs.err
    assert json.loads(cli("why", "alpha", "--json").out)["class"] == "none"


def test_nothing_known(cli: Cli) -> None:
    """Says so, and that is no failure of the command."""
    Path("out.log").write_text("all is well\n")
    found = json.loads(cli("why", "out.log", "--json").out)

    assert (found["class"], found["line"], found["restart"]) == ("unknown", None, False)


def test_what_is_not_there(cli: Cli) -> None:
    """A run: 6, with the runs that there are; files: 2, with their names."""
    Path("out.log").touch()

    assert cli("why", "nope").status == 6
    assert (
        cli("why", "out.log", "nope.log").status,
        "nope.log" in cli("why", "out.log", "nope.log").err,
    ) == (2, True)


def test_a_log_that_cannot_be_read(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is not passed over: it may hold the cause."""
    Path("out.log").write_text("x")

    def refuse(*arguments: object) -> None:
        raise PermissionError(13, "Permission denied", "out.log")

    monkeypatch.setattr("llmtrain.runs.why.cause.read_log", refuse)
    done = cli("why", "out.log")

    assert (done.status, done.err) == (6, "error: out.log cannot be read: Permission denied\n")
