"""The first failure of a run: by time, over all its logs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from llmtrain.runs.folder import read_prepared
from llmtrain.runs.lives import Life, find_life, lives, part
from llmtrain.runs.logs import log_files, nccl_logs
from llmtrain.runs.why.choice import FROM_OUTSIDE, choose
from llmtrain.runs.why.hits import Hit, hits_of
from llmtrain.runs.why.lines import Line, Log, read_log, stamp, year_of
from llmtrain.runs.why.patterns import ROLES, Book, book

CANCELLED = "cancelled by llmtrain cancel"
"""What the event of that name says in words."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cause:
    """Why a run ended."""

    kind: str
    """The class; ``unknown`` where no line is known, ``none`` where nothing failed."""
    hit: Hit | None
    """The line that says so."""
    rank: int | None
    """The first rank that failed."""
    host: str | None
    """Its node."""
    gpu: int | None
    """Its GPU, numbered on the node."""
    phase: str | None
    """What an allocation was for, where memory ran out."""
    echoes: tuple[Hit, ...]
    """What others said of it later."""
    read: int
    """Logs that were read."""


def cause_of_files(paths: Sequence[Path]) -> Cause:
    """From logs of any program, together the logs of one job."""
    known, year = book(), year_of(paths)
    hits = [hit for path in paths for hit in hits_of(read_log(path, year), known)]
    return _first(hits, known, len(paths), None)


def cause_of_run(folder: Path, number: int | None = None) -> Cause:
    """From the logs and the events of a run: of one life, or of its last.

    Raises:
        RunError: if the run has no life of that ``number``.
    """
    paths, all_lives = log_files(folder), lives(folder)
    life = find_life(folder, number) if number is not None else all_lives[-1] if all_lives else None
    events = life.events if life else ()
    if any(event.get("event") == "finished" for event in events):
        return _nothing("none", len(paths))
    known, year = book(), year_of([*paths, folder / "events.jsonl"] if events else paths)
    again = len(all_lives) > 1
    hits = [hit for path in paths for hit in _of_log(read_log(path, year), known, life, again)]
    hits = hits if _tasks_are_ranks(folder) else [_without_task(hit) for hit in hits]
    warned = nccl_logs(folder, life.number) if life else []
    hits += [hit for path in warned for hit in hits_of(_warnings(read_log(path, year)), known)]
    said = _of_events(events, folder, known)
    cause = _first([*said, *_timed(hits, said)], known, len(paths), _ranks_per_node(folder))
    if cause.hit is None and any(event.get("event") == "stopped" for event in events):
        return _nothing("none", len(paths))
    return replace(cause, host=cause.host or _node_of(paths, cause.rank))


def _warnings(log: Log) -> Log:
    """Of what NCCL chose and tried, which is none of a failure, nothing."""
    return replace(log, texts=[text if " NCCL WARN " in text else "" for text in log.texts])


def _without_task(hit: Hit) -> Hit:
    """A number that srun gives is that of a task, which has the ranks of a whole node.

    What torchrun says in its block is a rank all the same.
    """
    from_srun = hit.line.path.name == "launcher.log" and not hit.line.text.startswith("exitcode")
    return replace(hit, rank=None) if from_srun else hit


def _node_of(paths: Sequence[Path], rank: int | None) -> str | None:
    """A rank that said nothing has a log all the same, in the folder of its node."""
    found = [path.parent.name for path in paths if path.name == f"rank-{rank}.log"]
    return found[0] if found else None


def _of_log(log: Log, known: Book, life: Life | None, again: bool) -> list[Hit]:
    """Of the life: as the log parts them, or by times."""
    lines = part(log.texts, life.number) if life and life.marked else None
    if lines is not None:
        texts = log.texts[lines.start : lines.stop]
        return hits_of(replace(log, texts=texts, first=log.first + lines.start), known)
    found = hits_of(log, known)
    if again and found and found[0].line.rank is not None:
        # A rank appends to its log life after life: the last traceback is of the last.
        found = [hit for hit in found if hit.chain == found[-1].chain]
    start = _time(life.events[0]) if life else None
    return [hit for hit in found if not (again and _before(hit, start))]


def _of_events(life: Sequence[dict[str, Any]], folder: Path, known: Book) -> list[Hit]:
    """What the ranks wrote into events.jsonl when they failed, and what was done to them."""
    found = []
    for number, event in enumerate(life, 1):
        kind = event.get("event")
        text = {"cancelled": CANCELLED, "failed": str(event.get("error"))}.get(str(kind))
        if text is not None:
            path, line = folder / "events.jsonl", text.partition("\n")[0]
            log = Log(path=path, texts=[line], first=number, year=1970)
            found += [_of_event(hit, event) for hit in hits_of(log, known)]
    return found


def _of_event(hit: Hit, event: dict[str, Any]) -> Hit:
    """An event knows when, and of whom it is."""
    rank, host = event.get("rank"), event.get("node")
    line = replace(hit.line, time=_time(event), stamped=True, rank=rank, host=host)
    return replace(hit, line=line, rank=hit.rank if rank is None else rank, host=host)


def _time(event: dict[str, Any]) -> float | None:
    return stamp(str(event.get("time")), 1970)


def _before(hit: Hit, start: float | None) -> bool:
    return start is not None and hit.line.time is not None and hit.line.time < start - 1


def _timed(hits: Sequence[Hit], said: Sequence[Hit]) -> list[Hit]:
    """A traceback has no time, or that of a line long before it; an event of its rank has one."""
    times = {hit.rank: hit.line.time for hit in reversed(said) if hit.rank is not None}

    def timed(line: Line) -> Line:
        known = times.get(line.rank) if line.rank is not None else None
        late = known is not None and not line.stamped and (line.time or 0.0) < known
        return replace(line, time=known) if late else line

    return [replace(hit, line=timed(hit.line)) for hit in hits]


def _first(hits: Sequence[Hit], known: Book, read: int, per_node: int | None) -> Cause:
    for role in ROLES[:-1]:
        found = [hit for hit in hits if hit.pattern.role == role]
        if found:
            return _cause(choose(found), hits, known, read, per_node)
    return _nothing("unknown", read)


def _cause(hit: Hit, hits: Sequence[Hit], known: Book, read: int, per_node: int | None) -> Cause:
    if hit.pattern.kind in FROM_OUTSIDE:
        # Done to all of them; who happened to say it is not to blame.
        hit = replace(hit, rank=None, host=None, gpu=None)
    gpu = hit.gpu
    if gpu is None and hit.rank is not None and per_node:
        gpu = hit.rank % per_node
    others = [each for each in hits if each.rank != hit.rank and each.rank is not None]
    ranks = {each.rank: each for each in reversed(others)}
    return Cause(
        kind=hit.pattern.kind,
        hit=hit,
        rank=hit.rank,
        host=hit.host,
        gpu=gpu,
        phase=_phase(hit, known),
        echoes=tuple(ranks[rank] for rank in sorted(ranks, key=lambda rank: rank or 0)),
        read=read,
    )


def _phase(hit: Hit, known: Book) -> str | None:
    """The innermost frame that says what was being done."""
    if hit.pattern.kind != "out_of_memory":
        return None
    for frame in reversed(hit.frames):
        for name, frames in known.phases:
            if frames.search(frame):
                return name
    return None


def _ranks_per_node(folder: Path) -> int | None:
    found = read_prepared(folder, "launch.json").get("ranks_per_node")
    return found if isinstance(found, int) else None


def _tasks_are_ranks(folder: Path) -> bool:
    """Whether Slurm starts the ranks itself; one task a node starts torchrun else."""
    return "torch.distributed.run" not in read_prepared(folder, "launch.json").get("command", ())


def _nothing(kind: str, read: int) -> Cause:
    return Cause(
        kind=kind, hit=None, rank=None, host=None, gpu=None, phase=None, echoes=(), read=read
    )
