"""The index of the data is built by a job of its own, before the run's."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.system.conftest import Bed


def test_the_ranks_find_the_index(bed: Bed) -> None:
    """The run's job waits for it; a second run has nothing to build and submits one job."""
    cache = bed.folder / "cache"
    words = ("recipe=bed-tiny", "run.steps=2", f"data.cache={cache}", "site.cpu_partition=debug")
    first = bed.launch("first", *words)
    assert bed.wait(first)["status"] == "finished"

    assert "the index is in" in (first / "logs" / "cache.log").read_text()
    events = map(json.loads, (first / "events.jsonl").read_text().splitlines())
    launched = next(each for each in events if each["event"] == "launched")
    began = datetime.fromisoformat(launched["time"]).timestamp()
    files = [path for path in cache.rglob("*") if path.is_file() and path.suffix != ".lock"]
    assert {path.suffix for path in files} >= {".npy", ".txt", ".bin", ".idx"}
    assert all(path.stat().st_mtime < began for path in files)

    second = bed.launch("second", *words)
    assert bed.wait(second)["status"] == "finished"
    assert not (second / "control" / "cache-job").exists()


def test_a_run_whose_index_cannot_be_built_has_failed(bed: Bed) -> None:
    """Its job never starts; the reason is in its record."""
    words = ("recipe=bed-tiny", "data=indexed", f"data.paths=[{bed.folder}/none]")
    more = (f"data.cache={bed.folder}/cache", "site.cpu_partition=debug")
    (bed.folder / "none.bin").write_text("")
    (bed.folder / "none.idx").write_text("")
    folder = bed.launch("broken", *words, *more)
    state = bed.wait(folder)

    assert state["status"] == "failed"
    assert "the index could not be built" in state["error"]
    assert not list(folder.glob("logs/node*/rank-*.log"))
