"""How the interpreter reaches the nodes, and what a checkout of the user's is on them."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.system.conftest import Bed

PROGRAM = """
import json, sys
import of_this_environment
print(json.dumps({"prefix": sys.prefix, "at": of_this_environment.__file__}))
"""


def test_the_environment_is_copied_to_every_node(bed: Bed) -> None:
    """One file by sbcast; the ranks import from the node's own disk, which is clean afterwards."""
    bed.run(sys.executable, "-m", "venv", "--without-pip", "software")
    packages = next(bed.folder.glob("software/lib/python3*/site-packages"))
    (packages / "of_this_environment.py").write_text("")
    (bed.folder / "pretrain_gpt.py").write_text(PROGRAM)
    nvme = f"{bed.environment['BED']}/nvme"
    where = (f"site.python={bed.folder}/software/bin/python", f"site.nvme={nvme}")
    words = ("recipe=bed-program", f"backend.path={bed.folder}", "site.software=sbcast", *where)
    folder = bed.launch("copied", *words, "nodes.spare=1")
    assert bed.wait(folder)["status"] == "finished"

    job = json.loads((folder / "control" / "slurm.json").read_text())["job"]
    logs = [path.read_text() for path in folder.glob("logs/*/rank-*.log")]
    said = [json.loads(next(x for x in log.splitlines() if x[0] == "{")) for log in logs]
    assert len(said) == 4
    assert {each["prefix"] for each in said} == {f"{nvme}/llmtrain-{job}"}
    assert all(each["at"].startswith(f"{nvme}/llmtrain-{job}/lib/") for each in said)
    bed.until(lambda: bed.run("squeue", "--noheader") == "", "the end of the job")
    for node in ("1", "2", "3", "4"):
        left = bed.run(bed.scripts / "node.sh", "exec", node, "ls", nvme).split()
        assert f"llmtrain-{job}" not in left


def test_an_interpreter_that_cannot_be_copied_is_refused(bed: Bed, program: str) -> None:
    """The job ends before a rank starts, and says why."""
    where = ("site.python=/usr/bin/python3", f"site.nvme={bed.environment['BED']}/nvme")
    folder = bed.launch("system", "recipe=bed-program", program, "site.software=sbcast", *where)
    state = bed.wait(folder)

    assert state["status"] == "failed" and "no virtual environment" in state["error"]
