"""A thread beside each rank: ends it when the run gets no further, or goes on without it.

It asks three things. Whether the step under way, or what else is done, has not ended for too long:
then the ranks report (``hang.py``) and look at the network (``reach.py``), the missing rank or the
lost node is named, and all end, so that a restart goes on. Whether a newer life of the run has
begun. Whether the launcher is gone: then nobody would end this process.
"""

import faulthandler
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from statistics import median

from llmtrain.config.errors import RunError
from llmtrain.config.watch import Hang
from llmtrain.trainer import hang, reach
from llmtrain.trainer.life import Life
from llmtrain.trainer.places import Place
from llmtrain.trainer.rank import Rank
from llmtrain.trainer.records import event, has_failed

POLLS = 30
"""Looks in the shortest time that counts as a hang; each asks the file system twice."""
SETTLE = 3
"""Looks until the others have reported."""
WINDOW = 20
"""Steps of the median."""
LAUNCHERS = ("TORCHELASTIC_RUN_ID", "SLURM_PROCID")
"""Variables that tell of a parent which ends with the run."""


class Watchdog:
    """Watches the thread that makes it."""

    def __init__(self, folder: Path, rank: Rank, rules: Hang) -> None:
        """Watch from now on, until :meth:`close`."""
        self._folder, self._rank, self._rules = folder, rank, rules
        self._life = Life.read(folder)
        self._watched, self._parent = threading.get_ident(), os.getppid()
        self._places: Sequence[Place] = ()
        self._links = reach.running_links()
        self._took: deque[float] = deque(maxlen=WINDOW)
        self._doing, self._step, self._limit = "the start", 0, rules.start_seconds
        self._begun = time.monotonic()
        self._idle = 0.0
        self._end = threading.Event()
        self._poll = min(10.0, max(0.2, rules.least_seconds / POLLS))
        faulthandler.enable()
        # Reaches also a rank that holds the interpreter: its stack comes from the handler itself.
        faulthandler.register(signal.SIGUSR2, all_threads=True)
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def know(self, places: Sequence[Place]) -> None:
        """Where the other ranks are."""
        self._places = places

    def step(self, step: int) -> None:
        """The step of that number begins."""
        usual = median(self._took) if self._took else None
        limit = self._rules.start_seconds
        if usual is not None:
            limit = max(self._rules.least_seconds, (self._rules.factor or 0) * usual)
        self._now(f"step {step}", step - 1, limit)

    def stepped(self, step: int) -> None:
        """The step has ended; what follows is no step."""
        self._took.append(time.monotonic() - self._begun)
        self._now(f"what follows step {step}", step, self._rules.start_seconds)

    def close(self) -> None:
        """Watch no longer."""
        self._end.set()

    def _now(self, doing: str, step: int, limit: float) -> None:
        self._doing, self._step, self._limit = doing, step, limit
        self._begun, self._idle = time.monotonic(), 0.0

    def _watch(self) -> None:
        last = time.monotonic()
        while not self._end.wait(self._poll):
            now = time.monotonic()
            # A process that was stopped as a whole has not been idle meanwhile.
            self._idle += min(now - last, 2 * self._poll)
            last = now
            self._look()

    def _look(self) -> None:
        newer = self._life.newer()
        if newer is not None:
            self._leave(f"life {newer} of this run has begun: this one ends")
        if any(name in os.environ for name in LAUNCHERS) and os.getppid() != self._parent:
            self._leave("the launcher is gone: this rank ends")
        where = hang.place_of_report(self._folder, self._life.number)
        late = self._rules.factor is not None and self._idle > self._limit
        if late or (self._rules.factor is not None and where.is_dir()):
            self._report(where)

    def _report(self, where: Path) -> None:
        """Say what this rank does, have the silent ones of its node dump, judge, end."""
        doing, seconds, step = self._doing, self._idle, self._step
        waits, inside = hang.whereabouts(self._watched)
        print(f"llmtrain: {doing} has not ended in {seconds:.0f} s; all stacks:", file=sys.stderr)
        faulthandler.dump_traceback(file=sys.stderr, all_threads=True)
        mine = hang.Report(
            rank=self._rank.number,
            node=self._rank.node,
            doing=doing,
            step=step,
            waits=waits,
            where=inside,
        )
        with suppress(OSError):
            hang.write_report(where, mine)
            # Afterwards: the silence of a rank must not be that of the network.
            hang.write_report(where, replace(mine, network=self._look_around()))
        # Others look around as long.
        if self._end.wait(SETTLE * self._poll + reach.SECONDS):
            return
        reports = hang.read_reports(where)
        self._wake(reports)
        if self._rank.number == min(reports, default=self._rank.number):
            self._judge(reports, doing, step, seconds)
        else:
            time.sleep(SETTLE * self._poll)
        self._leave("the run hangs: this rank ends, a restart can go on")

    def _look_around(self) -> reach.View:
        nodes = {place.node for place in self._places}
        return reach.look(reach.hosts_to_try(self._rank.node, nodes), self._links)

    def _wake(self, reports: dict[int, hang.Report]) -> None:
        """Ranks of this node that say nothing write their stacks, if they can."""
        for number, place in enumerate(self._places):
            if place.node == self._rank.node and number not in reports:
                with suppress(OSError):
                    os.kill(place.pid, signal.SIGUSR2)

    def _judge(
        self, reports: dict[int, hang.Report], doing: str, step: int, seconds: float
    ) -> None:
        nodes = {number: place.node for number, place in enumerate(self._places)}
        nodes |= {number: report.node for number, report in reports.items()}
        ranks = hang.missing(reports, self._rank.world)
        views = [(report.node, report.network) for report in reports.values()]
        lost = reach.cut_off(set(nodes.values()), views)
        if not lost and has_failed(self._folder):
            print("llmtrain: another rank has failed: this is no hang", file=sys.stderr)
            return
        says = hang.sentence(ranks, nodes, doing, seconds)
        says = hang.lost_nodes(lost, doing, seconds) if lost else says
        found = [{"rank": rank, "node": nodes.get(rank)} for rank in ranks]
        seen = {"seconds": round(seconds, 1), "missing": found, "lost": lost}
        event(self._folder, "hang", step, error=says, **seen)
        first = ranks[0] if ranks and not lost else None
        node = lost[0] if lost else None if first is None else nodes.get(first)
        event(self._folder, "failed", step, rank=first, node=node, error=says)

    def _leave(self, says: str) -> None:
        """End this process, whatever its other threads are stuck in."""
        print(f"llmtrain: {says}", file=sys.stderr, flush=True)
        sys.stdout.flush()
        os._exit(RunError.status)
