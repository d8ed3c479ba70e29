"""Nodes to leave out: which are listed, what the next job is told, whom a hang puts on the list."""

import json
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from llmtrain.launchers.shell import package_text
from llmtrain.runs.excluded import NAME, Entry, add, alive

SCONTROL = """
case "$1 $2" in
"show hostnames") python3 - "$3" <<'PY'
import re, sys
name = sys.argv[1]
ranged = re.fullmatch(r"(\\w+)\\[(\\d+)-(\\d+)\\]", name)
found = range(int(ranged[2]), int(ranged[3]) + 1) if ranged else ()
print(*([f"{ranged[1]}{number}" for number in found] if ranged else name.split(",")), sep="\\n")
PY
;;
"show job") echo "   ReqNodeList=(null) ExcNodeList=$KNOWN" ;;
*) echo "$*" ;;
esac
"""
"""Stands for Slurm's."""


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folder of a run, among others."""
    folder = tmp_path / "runs" / "mine"
    folder.mkdir(parents=True)
    (tmp_path / "scontrol").write_text("#!/bin/bash\n" + SCONTROL)
    (tmp_path / "scontrol").chmod(0o755)
    return folder


def shell(folder: Path, script: str, known: str = "(null)") -> str:
    """What a batch script with these functions says."""
    head = (
        'set -euo pipefail\nsay() { echo "$*" >&2; }\n'
        "exclude_seconds=3600 life=2 blamed=() blamed_life=0\n"
        "next_job=9 restart=chain hosts=(n1 n2 n3)\n"
        "export SLURM_JOB_ID=7\n"
    )
    words = ("bash", "-c", head + package_text("exclude.sh") + script)
    path = f"{folder.parents[1]}:/usr/bin:/bin"
    environment = {"PATH": path, "KNOWN": known}
    done = subprocess.run(
        words, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def entry(node: str, hours: float) -> Entry:
    """One that ends in so many hours."""
    now = datetime.now(UTC)
    until = now + timedelta(hours=hours)
    return Entry(node=node, reason='said "node: x"', run="", when=now, until=until)


def test_a_job_reads_the_list_as_the_command_does(run: Path) -> None:
    """The last entry of a node counts, until its end; also one by hand without quotes."""
    assert shell(run, "listed") == ""
    for each in (entry("n5", 1), entry("n6", -1), entry("n7", 1), entry("n7", -1)):
        add(run.parent, each)
    with (run.parent / NAME).open("a") as file:
        file.write("- {node: n8, reason: a fan, until: 2999-01-01}\n")
    shell(run, "keep_out 3 'n2: Xid \"79\"'", "n2")

    assert shell(run, "listed").split() == ["n2", "n5", "n8"]
    assert sorted(each.node for each in alive(run.parent)) == ["n2", "n5", "n8"]


def test_a_job_passes_over_what_is_damaged(run: Path) -> None:
    """A name that Slurm would refuse would cost the others; a node of a range can be taken back."""
    (run.parent / NAME).write_text(
        '- {"node": "gpu 07", "reason": "x", "until": "2999-01-01"}\n'
        '- {"node": "", "reason": "x", "until": "2999-01-01"}\n'
        '- {"node": "n[1-3]", "reason": "x", "until": "2999-01-01"}\n'
    )
    add(run.parent, entry("n2", -1))

    assert shell(run, "listed").split() == ["n1", "n3"]
    assert [each.node for each in alive(run.parent)] == ["n1", "n3"]


@pytest.mark.parametrize(
    ("known", "told"),
    [
        ("(null)", "update jobid=9 ExcNodeList=n5,n6\n"),
        ("n[1-3]", "update jobid=9 ExcNodeList=n1,n2,n3,n5,n6\n"),
        ("n[4-6]", ""),
    ],
)
def test_a_waiting_job_is_told_what_it_does_not_know(run: Path, known: str, told: str) -> None:
    """What it leaves out already stays."""
    assert shell(run, "leave_out 9") == ""
    for node in ("n5", "n6"):
        add(run.parent, entry(node, 1))

    assert shell(run, "leave_out 9", known) == told


def test_most_of_the_nodes_are_not_kept_out(run: Path) -> None:
    """That would be what was asked of them; of three, one is."""
    assert shell(run, "keep_out 3 'n1: a' 'n2: b'; keep_out 2 'n1: a'; keep_out 3") == ""
    assert not (run.parent / NAME).exists()

    assert shell(run, "keep_out 3 'n1: a'") == "update jobid=9 ExcNodeList=n1\n"


@pytest.mark.parametrize(
    ("life", "missing", "blamed"),
    [
        (2, ["n3", "n3"], "n3"),
        (2, ["n3", "n2"], ""),
        (2, [], ""),
        (1, ["n3"], ""),
    ],
)
def test_a_hang_names_one_node_or_none(
    run: Path, life: int, missing: list[str], blamed: str
) -> None:
    """Of this life alone, once; that node goes onto the list."""
    hang = {"event": "hang", "missing": [{"rank": 1, "node": node} for node in missing]}
    failed = {"event": "failed", "node": "n1"}
    first, second = ({"event": "launched", "life": number, "nodes": "n"} for number in (1, 2))
    lines = (first, hang, second, hang if life == 2 else failed)
    (run / "events.jsonl").write_text("".join(json.dumps(each) + "\n" for each in lines))

    said = shell(run, 'blame; blame; echo "${blamed[*]}"').splitlines()

    assert said[-1] == blamed
    assert [each.node for each in alive(run.parent)] == ([blamed] if blamed else [])
