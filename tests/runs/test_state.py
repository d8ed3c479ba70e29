"""The state of a run, from the lines that it wrote."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from llmtrain.runs.events import json_lines, note
from llmtrain.runs.progress import losses
from llmtrain.runs.state import State, read_state

RunWith = Callable[..., Path]


def write(folder: Path, *kinds: str, rows: str = "") -> Path:
    """Events one after the other, and rows of metrics as they are."""
    lines = [json.dumps({"time": "-", "event": kind, "step": None}) for kind in kinds]
    (folder / "events.jsonl").write_text("".join(f"{line}\n" for line in lines))
    (folder / "metrics.jsonl").write_text(rows)
    return folder


LIVES = [
    ((), "prepared", "starting"),
    (("launched",), "lost", "starting"),
    (("launched", "started"), "lost", "running"),
    (("started",), "lost", "running"),
    (("launched", "started", "checkpoint"), "lost", "running"),
    (("launched", "started", "checkpoint", "finished"), "finished", "finished"),
    (("launched", "started", "checkpoint", "stopped"), "stopped", "stopped"),
    (("launched", "started", "stopped", "cancelled"), "cancelled", "cancelled"),
    (("launched", "started", "cancelled"), "cancelled", "cancelled"),
    (("launched", "started", "failed", "failed"), "failed", "failed"),
    (("launched", "failed"), "failed", "failed"),
    (("launched", "started", "stopped", "launched"), "lost", "starting"),
    (("launched", "started", "stopped", "launched", "resumed"), "lost", "running"),
    (("launched", "started", "failed", "launched", "resumed", "finished"), "finished", "finished"),
    (("started", "stopped", "resumed", "failed"), "failed", "failed"),
]


@pytest.mark.parametrize(("kinds", "dead", "living"), LIVES)
def test_status(run_with: RunWith, kinds: tuple[str, ...], dead: str, living: str) -> None:
    """What happened since the last start counts, and whether the job is there."""
    folder = write(run_with(), *kinds)

    assert read_state(folder).status == dead
    assert read_state(folder, "gone").status == dead
    assert read_state(folder, "here").status == living


def test_a_failed_life_of_a_job_that_is_there_may_be_followed_by_another(
    run_with: RunWith,
) -> None:
    """Until the script says that the job has ended."""
    folder, job = run_with(), {"time": "-", "step": None, "job": "7"}
    lines = [{"event": "launched", "life": 1, **job}, {"event": "failed", "error": "no", **job}]
    (folder / "events.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert read_state(folder, "here").status == "starting"
    assert read_state(folder, "gone").status == "failed"

    with (folder / "events.jsonl").open("a") as file:
        file.write(json.dumps({"event": "job_ended", "outcome": "failed", **job}) + "\n")
    assert read_state(folder, "here").status == "failed"


def test_a_run_in_full(run_with: RunWith) -> None:
    """Everything that status shows, as data and as JSON."""
    rows = '{"step": 1, "loss": 5.5, "tokens_per_second": 10.0}\n'
    rows += '{"step": 2, "loss": 5.25, "tokens_per_second": 20.0, "step_seconds": 0.5}\n'
    rows += '{"step": 2, "validation_loss": 6.0}\n'
    folder = write(run_with(steps=8), "launched", "started", rows=rows)
    with (folder / "events.jsonl").open("a") as events:
        for step in (1, 2):
            events.write(json.dumps({"event": "checkpoint", "step": step}) + "\n")
        for error in ("CUDA out of memory\nin the third layer", "connection closed by peer"):
            events.write(json.dumps({"event": "failed", "step": None, "error": error}) + "\n")
    found = read_state(folder)

    assert found == State(
        name="test-20260102-000000",
        path=folder,
        status="failed",
        step=2,
        steps=8,
        loss=5.25,
        tokens_per_second=20.0,
        step_seconds=0.5,
        memory_bytes=None,
        checkpoint=2,
        error="CUDA out of memory\nin the third layer",
    )
    assert found.as_json() == {
        "name": "test-20260102-000000",
        "path": str(folder),
        "status": "failed",
        "step": 2,
        "steps": 8,
        "loss": 5.25,
        "tokens_per_second": 20.0,
        "step_seconds": 0.5,
        "memory_bytes": None,
        "checkpoint": 2,
        "error": "CUDA out of memory\nin the third layer",
    }


def test_an_error_of_an_earlier_life_is_over(run_with: RunWith) -> None:
    """A run that failed, went on and failed again says why it failed now."""
    folder = write(run_with())
    lines = [
        {"event": "started"},
        {"event": "failed", "error": "old"},
        {"event": "resumed"},
        {"event": "failed", "error": "new"},
        {"event": "failed", "error": "echo"},
    ]
    (folder / "events.jsonl").write_text("\n".join(json.dumps(line) for line in lines))

    assert read_state(folder).error == "new"


def test_a_damaged_checkpoint_counts_no_more(run_with: RunWith) -> None:
    """The newest that was not found damaged since; saved again it counts again."""
    folder = write(run_with())
    saved = [{"event": "checkpoint", "step": n, "name": f"step-{n}"} for n in (1, 2)]
    damaged = {"event": "checkpoint_damaged", "step": None, "name": "step-2"}

    for lines, newest in (([*saved, damaged], 1), ([*saved, damaged, saved[1]], 2)):
        (folder / "events.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
        assert read_state(folder).checkpoint == newest


def test_half_written_lines_are_passed_over(run_with: RunWith) -> None:
    """A line is read when it is whole; what is no object is no line."""
    rows = '{"step": 1, "loss": 5.5}\n[1]\n"loss"\n\xff\n\n{"step": 2, "lo'
    folder = write(run_with(), "started", rows=rows)
    with (folder / "events.jsonl").open("a") as events:
        events.write('{"event": "fini')
    found = read_state(folder)

    assert (found.step, found.loss, found.status) == (1, 5.5, "lost")


def test_an_empty_folder(tmp_path: Path) -> None:
    """Nothing is known of a run that wrote nothing."""
    assert read_state(tmp_path) == State(
        name=tmp_path.name,
        path=tmp_path,
        status="prepared",
        step=0,
        steps=None,
        loss=None,
        tokens_per_second=None,
        step_seconds=None,
        memory_bytes=None,
        checkpoint=None,
        error=None,
    )


def test_a_loss_that_is_no_number(run_with: RunWith) -> None:
    """It stands as null, and is no point of the curve."""
    folder = write(run_with(), rows='{"step": 1, "loss": 5.5}\n{"step": 2, "loss": null}\n')

    assert (read_state(folder).step, read_state(folder).loss) == (2, None)
    assert losses(folder) == [(1, 5.5)]


def test_after_a_resume_the_last_row_of_a_step_counts(run_with: RunWith) -> None:
    """Steps that were trained again replace those that were lost; the curve is in order."""
    steps = [(1, 5.0), (2, 4.0), (3, 3.0), (2, 4.5), (3, 3.5), (4, 3.0)]
    rows = "".join(json.dumps({"step": step, "loss": loss}) + "\n" for step, loss in steps)
    folder = write(run_with(), rows=rows + '{"step": 4, "validation_loss": 9}\n')

    assert losses(folder) == [(1, 5.0), (2, 4.5), (3, 3.5), (4, 3.0)]
    assert read_state(folder).step == 4


def test_only_the_end_of_a_long_file_is_read(tmp_path: Path) -> None:
    """A line that the beginning of the tail cuts is none."""
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(f'{{"step": {step}}}\n' for step in range(10_000)))

    assert [row["step"] for row in json_lines(path, 40)] == [9998, 9999]
    assert len(list(json_lines(path))) == 10_000
    assert list(json_lines(tmp_path / "missing.jsonl")) == []


def test_a_note_stands_among_the_events(tmp_path: Path) -> None:
    """With the time, which alone differs from one note to the next."""
    (tmp_path / "events.jsonl").write_text('{"event": "started"}\n')
    note(tmp_path, "cancelled")
    first, second = json_lines(tmp_path / "events.jsonl")

    assert first == {"event": "started"}
    assert second.pop("time").endswith("+00:00")
    assert second == {"event": "cancelled", "step": None}
