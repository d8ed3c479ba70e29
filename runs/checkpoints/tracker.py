"""Moving a tracker: the file by which a Megatron program or DeepSpeed finds what it loads."""

import os
from pathlib import Path

from llmtrain.runs.checkpoints.check import Tracker
from llmtrain.runs.events import note


def move(tracker: Tracker, run: Path) -> None:
    """Make it name the newest whole checkpoint, in one step; what it named is kept in an event.

    Nothing else is touched: what is not whole stays where it is.

    Raises:
        OSError: if it cannot be written.
    """
    draft = tracker.path.with_name(f".{tracker.path.name}.{os.getpid()}")
    draft.write_text(tracker.now, encoding="utf-8")
    draft.replace(tracker.path)
    note(run, "tracker_moved", file=tracker.path.name, was=tracker.was, now=tracker.now)
