"""One node of a job, in its run's folder: ``python -m preflight NODES FIRST ADDRESS PORT``.

NODES are looked at together; FIRST is the one that the others meet at ADDRESS and PORT, and that
compares them all. Each writes logs/NODE/preflight.json and, for the job's script,
control/preflight/NODE. Exit status 5: this node must not take part.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

from .checks import judge
from .compare import Report, compare
from .facts import node_name, read_facts
from .finding import verdict, worst_first
from .machine import Machine
from .meeting import Answer, ask, serve
from .promise import Limits, Promise
from .record import read, words, write

KIND = "preflight"


def main(arguments: list[str]) -> int:
    """Look at this node; on the first one also wait for the others and compare."""
    # Meant for the ranks, which come later and look whether they were asked to stop.
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    nodes, first, address, port = int(arguments[0]), arguments[1], arguments[2], int(arguments[3])
    asked = json.loads(Path("preflight/promise.json").read_text(encoding="utf-8"))
    until = time.monotonic() + asked["seconds"] * 0.8
    promise, name = Promise.from_json(asked["promise"]), node_name()
    if nodes > 1 and name == first:
        with suppress(OSError):
            serve(port)
    facts = read_facts(Machine(), [Path(folder) for folder in promise.room])
    answer = _meet(name == first, nodes, address, port)
    report = Report(
        name, facts.versions, answer and answer.ahead_seconds, answer and answer.reached
    )
    record = {"node": name, "facts": facts.as_json(), "report": report._asdict()}
    write(KIND, record, judge(facts, promise))
    if nodes > 1 and name == first:
        _compare(name, nodes, until, promise.limits)
    _, found = read(KIND, name)
    return 5 if verdict(found) == "stop" and asked["policy"] == "stop" else 0


def _meet(leads: bool, nodes: int, address: str, port: int) -> Answer | None:
    if nodes == 1:
        return None
    return Answer(True, 0.0) if leads else ask(address, port, 15)


def _compare(first: str, nodes: int, until: float, limits: Limits) -> None:
    """Those that differ from most of the others get it into their records."""
    reports = [Report(**each) for each in words(nodes, until).values()]
    reports.sort(key=lambda each: each.node != first)
    if len(reports) < nodes:
        print(f"preflight: {nodes - len(reports)} nodes have not answered", file=sys.stderr)
    for node, more in compare(reports, limits).items():
        if more:
            record, old = read(KIND, node)
            write(KIND, record, worst_first([*more, *old]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
