"""The index saves reading, and never says anything that the runs' files do not."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from llmtrain.runs import registry
from llmtrain.runs.events import note
from llmtrain.runs.registry import INDEX
from llmtrain.runs.state import State, read_state

RunWith = Callable[..., Path]


def all_runs(root: Path) -> list[State]:
    """All of them."""
    states, left_out = registry.all_runs(root)
    assert left_out == 0
    return states


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the runs whose files are read."""
    names: list[str] = []

    def read(folder: Path, *there: object) -> State:
        names.append(folder.name)
        return read_state(folder, "gone")

    monkeypatch.setattr(registry, "read_state", read)
    return names


def ended(folder: Path, kind: str = "finished") -> Path:
    """A run that has begun and ended."""
    note(folder, "started")
    note(folder, kind)
    return folder


def test_only_what_has_changed_is_read_again(run_with: RunWith, reads: list[str]) -> None:
    """A run that has ended is read once; one that has not, each time; one that goes on, again."""
    first = ended(run_with(name="a"))
    second = run_with(name="b")
    root = first.parent
    before = all_runs(root)

    assert sorted(reads) == sorted([first.name, second.name])
    reads.clear()
    assert all_runs(root) == before
    assert reads == [second.name]
    reads.clear()
    note(first, "resumed")
    assert {state.name: state.status for state in all_runs(root)}[first.name] == "lost"
    assert sorted(reads) == sorted([first.name, second.name])


@pytest.mark.parametrize(
    "index", ["", "{", "[]", '{"keys": []}', '{"keys": ["name"], "runs": [1]}']
)
def test_an_index_that_cannot_be_read_is_made_again(run_with: RunWith, index: str) -> None:
    """Whatever stands there."""
    root = ended(run_with()).parent
    before = all_runs(root)
    (root / INDEX).write_text(index)

    assert all_runs(root) == before
    assert len(json.loads((root / INDEX).read_text())["runs"]) == 1


def test_a_run_that_is_gone_is_forgotten(run_with: RunWith) -> None:
    """Its folder was removed."""
    folder = ended(run_with())
    all_runs(folder.parent)
    folder.rename(folder.parent.parent / "elsewhere")

    assert all_runs(folder.parent) == []
    assert json.loads((folder.parent / INDEX).read_text())["runs"] == []


def test_slurm_may_queue_a_run_again(run_with: RunWith, monkeypatch: pytest.MonkeyPatch) -> None:
    """What its files do not show yet: a failed run in the queue is queued."""
    folder = ended(run_with(), "failed")
    (folder / "control" / "slurm.json").write_text('{"job": "7"}')
    monkeypatch.setattr("llmtrain.runs.presence.in_queue", lambda jobs: {})
    assert [state.status for state in all_runs(folder.parent)] == ["failed"]
    monkeypatch.setattr("llmtrain.runs.presence.in_queue", lambda jobs: {"7": "PENDING"})

    assert [state.status for state in all_runs(folder.parent)] == ["queued"]


def test_the_newest_comes_first_and_what_is_no_run_not_at_all(run_with: RunWith) -> None:
    """By when its folder was made; drafts, files and other folders are passed over."""
    old, new = ended(run_with(name="old")), run_with(name="new")
    os.utime(old / "launch.json", ns=(1, 1))
    (old.parent / "notes").mkdir()
    (old.parent / ".draft").mkdir()
    (old.parent / "file").touch()

    assert [state.name for state in all_runs(old.parent)] == [new.name, old.name]
    assert all_runs(old.parent / "nowhere") == []


def test_only_the_newest_that_have_ended(run_with: RunWith) -> None:
    """Those that live are never left out."""
    folders = [ended(run_with(name=name)) for name in ("a", "b", "c")]
    for age, folder in enumerate(folders):
        os.utime(folder / "launch.json", ns=(100 - age, 100 - age))
    states, left_out = registry.all_runs(folders[0].parent, newest=1)

    assert ([state.name for state in states], left_out) == ([folders[0].name], 2)


def test_a_run_that_is_submitted_again_is_read_again(run_with: RunWith, reads: list[str]) -> None:
    """Its job's number is all that has changed: it writes no event before it begins."""
    folder = ended(run_with(), "failed")
    all_runs(folder.parent)
    reads.clear()
    (folder / "control" / ".slurm.json").write_text('{"job": "8"}')
    (folder / "control" / ".slurm.json").rename(folder / "control" / "slurm.json")
    all_runs(folder.parent)

    assert reads == [folder.name]
