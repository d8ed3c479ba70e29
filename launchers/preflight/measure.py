"""Measures nodes together: ``python -m preflight.measure NODES ADDRESS PORT``.

One process on every node, in the run's folder, when the nodes were found fit. It starts burn.py
once for each GPU, collects what these tell, and reads from NCCL's log how the nodes send. The first
(``SLURM_PROCID`` 0) holds all against the cluster's figures and beside each other. The record of a
node is logs/NODE/measured.json.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .facts import node_name
from .figures import Figures, judge_figures
from .finding import worst_first
from .promise import Promise
from .record import read, words, write
from .transport import judge_transport

KIND = "measured"


def main(arguments: list[str]) -> int:
    """Measure with this node; on the first one wait for the others and judge."""
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    number, nodes, meet = int(os.environ["SLURM_PROCID"]), int(arguments[0]), arguments[1:3]
    asked = json.loads(Path("preflight/promise.json").read_text(encoding="utf-8"))
    begin, seconds = time.monotonic(), asked["seconds"]
    promise, logs = Promise.from_json(asked["promise"]), Path("logs", node_name())
    logs.mkdir(parents=True, exist_ok=True)
    work = (promise.device or "cpu", asked["depth"], nodes, promise.gpus)
    nccl = logs / "preflight-nccl.log"
    nccl.unlink(missing_ok=True)
    ranks = [
        _start(work, number * promise.gpus + local, local, meet, logs)
        for local in range(promise.gpus)
    ]
    end = _wait(ranks, begin + 0.8 * seconds, logs)
    report = {"number": number, **end, "lines": _told(logs)}
    found = judge_transport(_text(nccl), promise) if nodes > 1 else []
    write(KIND, {"node": node_name(), "report": report}, worst_first(found))
    if number == 0:
        _judge(words(nodes, begin + 0.9 * seconds), promise)
    return 0


def _start(
    work: tuple[str, str, int, int], rank: int, local: int, meet: list[str], logs: Path
) -> subprocess.Popen[bytes]:
    device, depth, nodes, per_node = work
    environment = {
        **os.environ,
        "MASTER_ADDR": meet[0],
        "MASTER_PORT": meet[1],
        "RANK": str(rank),
        "LOCAL_RANK": str(local),
        "WORLD_SIZE": str(nodes * per_node),
    }
    if local == 0:
        environment["NCCL_DEBUG"] = "INFO"
        environment["NCCL_DEBUG_SUBSYS"] = "INIT,ENV,NET"
        environment["NCCL_DEBUG_FILE"] = str(logs / "preflight-nccl.log")
    module = (sys.executable, "-m", "preflight.burn")
    command = [*module, device, depth, str(nodes), str(per_node)]
    told, said = logs / f"preflight-{local}.out", logs / f"preflight-{local}.log"
    with told.open("wb") as out, said.open("wb") as log:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=log, env=environment
        )


def _wait(ranks: list[subprocess.Popen[bytes]], until: float, logs: Path) -> dict[str, Any]:
    """How the node's ranks ended: the first that failed and when, or that they hang."""
    while any(each.poll() is None for each in ranks):
        failed = [local for local, each in enumerate(ranks) if each.poll()]
        if failed or time.monotonic() > until:
            for each in ranks:
                each.kill()
            break
        time.sleep(0.1)
    ends = [each.wait() for each in ranks]
    failed = [local for local, status in enumerate(ends) if status not in (0, -signal.SIGKILL)]
    hung = not failed and any(ends)
    error = "measuring has not ended in time" if hung else ""
    if failed:
        said = _text(logs / f"preflight-{failed[0]}.log").strip().splitlines() or ["nothing"]
        error = f"measuring on GPU {failed[0]} ended with status {ends[failed[0]]}: {said[-1]}"
    return {"error": error, "hung": hung, "ended": time.time()}


def _told(logs: Path) -> list[Mapping[str, Any]]:
    """What the ranks told, in the order of their numbers."""
    found = []
    for path in sorted(logs.glob("preflight-*.out")):
        for line in _text(path).splitlines():
            if line.startswith("{"):
                found.append(json.loads(line))
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _judge(reports: Mapping[str, Mapping[str, Any]], promise: Promise) -> None:
    names = {report["number"]: node for node, report in reports.items()}
    figures = [_figures(node, report, names) for node, report in reports.items()]
    for node, more in judge_figures(blamed(figures, reports), promise).items():
        record, old = read(KIND, node)
        write(KIND, record, worst_first([*more, *old]))


def _figures(node: str, report: Mapping[str, Any], names: Mapping[int, str]) -> Figures:
    told = {
        kind: [each for each in report["lines"] if each["figure"] == kind]
        for kind in ("gemm", "bus_node", "bus_pair", "bus_all")
    }
    last = {kind: each[-1]["value"] for kind, each in told.items() if each}
    return Figures(
        node=node,
        gemm={str(each["gpu"]): each["value"] for each in told["gemm"]},
        bus_node=last.get("bus_node"),
        bus_pairs={
            names.get(each["other"], str(each["other"])): each["value"] for each in told["bus_pair"]
        },
        bus_all=last.get("bus_all"),
        error=report["error"],
    )


def blamed(figures: list[Figures], reports: Mapping[str, Mapping[str, Any]]) -> list[Figures]:
    """A rank that ends takes the others along: only the node that failed first keeps its error."""
    failed = [each.node for each in figures if each.error and not reports[each.node]["hung"]]
    if not failed:
        return figures
    first = min(failed, key=lambda node: reports[node]["ended"])
    return [each if each.node == first else each._replace(error="") for each in figures]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
