"""One node of a job, in its run's folder: ``python -m preflight NODES FIRST ADDRESS PORT``.

NODES are looked at together; FIRST is the one that the others meet at ADDRESS and PORT, and that
compares them all. Each writes logs/NODE/preflight.json and, for the job's script,
control/preflight/NODE: verdict and reason in one line, what is compared in a second. Exit status 5:
this node must not take part.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from .checks import Finding, judge, verdict, worst_first
from .compare import Report, compare
from .facts import node_name, read_facts
from .machine import Machine
from .meeting import Answer, ask, serve
from .promise import Limits, Promise

WORD = Path("control/preflight")
"""Where each node leaves its verdict."""


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
    found = judge(facts, promise)
    record = {"node": name, "facts": facts.as_json(), "report": report._asdict()}
    write(record, found)
    if nodes > 1 and name == first:
        found = _compared(name, nodes, until, promise.limits)
    return 5 if verdict(found) == "stop" and asked["policy"] == "stop" else 0


def _meet(leads: bool, nodes: int, address: str, port: int) -> Answer | None:
    if nodes == 1:
        return None
    return Answer(True, 0.0) if leads else ask(address, port, 15)


def write(record: dict[str, Any], found: list[Finding]) -> None:
    """What is known of a node, for people and for the job's script."""
    logs = Path("logs", record["node"])
    logs.mkdir(parents=True, exist_ok=True)
    findings = [each._asdict() for each in found]
    whole = {**record, "verdict": verdict(found), "findings": findings}
    _replace(logs / "preflight.json", json.dumps(whole, indent=2) + "\n")
    bad = [each for each in found if each.level in ("stop", "warn")]
    reason = "; ".join(each.says for each in bad[:3]) or "fit"
    line = f"{verdict(found)} {' '.join(reason.split())}"
    WORD.mkdir(parents=True, exist_ok=True)
    _replace(WORD / record["node"], f"{line}\n{json.dumps(record['report'])}\n")


def _replace(path: Path, text: str) -> None:
    draft = path.with_name(f".{path.name}.part")
    draft.write_text(text, encoding="utf-8")
    os.replace(str(draft), str(path))


def _compared(first: str, nodes: int, until: float, limits: Limits) -> list[Finding]:
    """Compare the nodes that have answered; those that differ get it into their records."""
    reports = [_report(path) for path in _answers(nodes, until)]
    reports.sort(key=lambda each: each.node != first)
    if len(reports) < nodes:
        print(f"preflight: {nodes - len(reports)} nodes have not answered", file=sys.stderr)
    for node, more in compare(reports, limits).items():
        if more:
            record = json.loads(Path("logs", node, "preflight.json").read_text(encoding="utf-8"))
            old = [Finding(**each) for each in record.pop("findings")]
            write(record, worst_first([*more, *old]))
    record = json.loads(Path("logs", first, "preflight.json").read_text(encoding="utf-8"))
    return [Finding(**each) for each in record["findings"]]


def _answers(nodes: int, until: float) -> list[Path]:
    while True:
        there = sorted(path for path in WORD.iterdir() if not path.name.startswith("."))
        if len(there) >= nodes or time.monotonic() > until:
            return there
        time.sleep(0.2)


def _report(path: Path) -> Report:
    return Report(**json.loads(path.read_text(encoding="utf-8").splitlines()[1]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
