"""The logs of a run: one file for each rank, and the launcher's."""

import io
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from llmtrain.config.errors import Problem, RunError


def log_files(folder: Path, rank: int | None = None) -> list[Path]:
    """The launcher's log and every rank's, or one rank's, in the order of ranks."""
    ranks = sorted(folder.glob("logs/*/rank-*.log"), key=rank_of)
    if rank is not None:
        return [path for path in ranks if rank_of(path) == rank]
    launcher = folder / "logs" / "launcher.log"
    return [launcher, *ranks] if launcher.is_file() else ranks


def nccl_logs(folder: Path, life: int) -> list[Path]:
    """What NCCL said on the first rank of each node, in one life."""
    return sorted(folder.glob(f"logs/*/nccl-{life}.log"))


def require_logs(folder: Path, rank: int | None = None) -> list[Path]:
    """The logs of :func:`log_files`.

    Raises:
        RunError: if there are none.
    """
    found = log_files(folder, rank)
    if not found:
        which = "no log" if rank is None else f"no log of rank {rank}"
        raise RunError(Problem(code="no_log", says=f"{folder.name} has {which}"))
    return found


def rank_of(path: Path) -> int:
    """Whose log it is; -1: the launcher's."""
    digits = path.stem.removeprefix("rank-")
    return int(digits) if digits.isdigit() else -1


def node_of(folder: Path, rank: int) -> str:
    """Where a rank ran last; the run has its log."""
    newest = max(log_files(folder, rank), key=lambda path: path.stat().st_mtime)
    return newest.parent.name


def label(path: Path) -> str:
    """How a line of this log is marked where several are shown together."""
    return path.stem


def lines(paths: list[Path]) -> Iterator[tuple[Path, str]]:
    """Every line, log after log."""
    for path in paths:
        with path.open("rb") as file:
            yield from ((path, _text(line)) for line in file)


def follow_lines(
    paths: Callable[[], list[Path]], alive: Callable[[], bool], pause: float = 0.2
) -> Iterator[tuple[Path, str]]:
    """Every line as it is written, until the run is over and all is read.

    ``paths`` is asked again and again: ranks open their logs some time after the launcher.
    """
    read: dict[Path, int] = {}
    while True:
        living = alive()
        for path in paths():
            with path.open("rb") as file:
                file.seek(read.get(path, 0))
                data = file.read()
            # The last line may be half written, until nobody is left to write the rest.
            whole = len(data) if not living else data.rfind(b"\n") + 1
            read[path] = read.get(path, 0) + whole
            yield from ((path, _text(line)) for line in io.BytesIO(data[:whole]))
        if not living:
            return
        time.sleep(pause)


def _text(line: bytes) -> str:
    return line.rstrip(b"\r\n").decode("utf-8", errors="replace")
