"""A run without a scheduler, over real ssh between the nodes of the test-bed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.system.conftest import Bed

WARN = "site.preflight.policy=warn"
"""Their GPUs are made of nothing."""
HOSTS = ("site=none", "site.scheduler=hostfile", "site.hosts=[node1,node2]")


def test_the_whole_environment_reaches_every_host(bed: Bed, program: str) -> None:
    """Not only names with a certain beginning; the ranks meet, and their output comes back."""
    words = ("run", "recipe=bed-program", program, *HOSTS, WARN, "env.HF_HOME='/data set'")
    bed.run(bed.scripts / "node.sh", "exec", "1", bed.command, *words)

    folder = next(bed.folder.glob("outputs/*"))
    lines = (folder / "logs" / "launcher.log").read_text().splitlines()
    said = [json.loads(line[line.index("{") :]) for line in lines if '"argv"' in line]
    assert len(said) == 4, lines
    environ = sorted((each["environ"] for each in said), key=lambda each: int(each["RANK"]))
    assert [each["RANK"] for each in environ] == ["0", "1", "2", "3"]
    asked = {each["name"]: each["value"] for each in json.loads((folder / "env.json").read_text())}
    assert asked["HF_HOME"] == "/data set"
    for each in environ:
        assert {name: each.get(name) for name in asked} == asked
        assert each["MASTER_ADDR"] == "node1"
    assert {path.parent.name for path in folder.glob("logs/*/environment.json")} == {
        "node1",
        "node2",
    }


def test_a_host_that_fails_ends_the_others(bed: Bed) -> None:
    """The run fails at once; nobody waits for a rank that is gone."""
    (bed.folder / "pretrain_gpt.py").write_text(
        "import os, sys, time\nsys.exit(3) if os.environ['RANK'] == '2' else time.sleep(600)\n"
    )
    words = ("run", "recipe=bed-program", f"backend.path={bed.folder}", *HOSTS, WARN)
    done = bed.start(bed.scripts / "node.sh", "exec", "1", bed.command, *words)

    assert done.returncode == 6, done.stderr


def test_a_host_that_is_not_fit_ends_the_run(bed: Bed, program: str) -> None:
    """Every host is looked at and compared; no rank starts where one has no GPU that answers."""
    words = ("run", "recipe=bed-program", program, *HOSTS, "site.preflight.seconds=40")
    done = bed.start(bed.scripts / "node.sh", "exec", "1", bed.command, *words)

    assert done.returncode == 6, done.stderr
    folder = next(bed.folder.glob("outputs/*"))
    said = (folder / "logs" / "launcher.log").read_text()
    assert "is not fit: stop nvidia-smi does not answer" in said
    assert not [line for line in said.splitlines() if '"argv"' in line]
    found = json.loads((folder / "logs" / "node2" / "preflight.json").read_text())
    assert found["report"]["reached"] is True and abs(found["report"]["ahead_seconds"]) < 1
