"""Nodes are looked at before a rank starts; those that are not fit take no part."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.system.test_operating import near_the_time_limit

if TYPE_CHECKING:
    from tests.system.conftest import Bed

TINY = ("recipe=bed-tiny", "run.steps=2", "site.preflight.policy=stop")


def events(folder: Path) -> list[dict[str, Any]]:
    """What happened, in order."""
    return [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]


@contextmanager
def full_disk(bed: Bed, number: int) -> Iterator[str]:
    """Node ``number`` has next to no room on its own disk."""
    nvme = f"{bed.environment['BED']}/nvme"

    def sized(size: str) -> None:
        words = ("mount", "-o", f"remount,size={size}", nvme)
        bed.run(bed.scripts / "node.sh", "exec", str(number), *words)

    sized("64k")
    try:
        yield nvme
    finally:
        sized("50%")


def test_a_node_with_a_full_disk_is_replaced_by_a_spare(bed: Bed) -> None:
    """The run trains on the others in the same job; the node is named, recorded and kept out."""
    with full_disk(bed, 1) as nvme:
        folder = bed.launch("screened", *TINY, f"site.nvme={nvme}", "nodes.spare=1")
        assert bed.wait(folder)["status"] == "finished"

    assert sorted(path.parent.name for path in folder.glob("logs/*/rank-0.log")) == ["node2"]
    found = {
        path.parent.name: json.loads(path.read_text())
        for path in folder.glob("logs/*/preflight.json")
    }
    assert {node: each["verdict"] == "stop" for node, each in found.items()} == {
        "node1": True,
        "node2": False,
        "node3": False,
    }
    assert found["node2"]["report"]["reached"] is not False
    unfit, summary = (each for each in events(folder) if each["event"] in ("unfit", "preflight"))
    assert unfit["node"] == "node1" and "0.0 GiB free" in unfit["reason"]
    assert (summary["nodes"], summary["unfit"]) == (3, 1)
    listed = (folder.parent / ".llmtrain-exclude.yaml").read_text()
    assert listed.startswith('- {node: "node1", reason: "') and folder.name in listed
    later = bed.launch("later", *TINY, "site.slurm.options.hold=''")
    job = json.loads((later / "control" / "slurm.json").read_text())["job"]
    assert "ExcNodeList=node1\n" in bed.run("scontrol", "show", "job", job)


def test_too_few_fit_nodes_end_the_job(bed: Bed) -> None:
    """Before a rank starts; the error has the reason and the option that leaves the node out."""
    with full_disk(bed, 2) as nvme:
        others = "site.slurm.exclude=[node3,node4]"
        folder = bed.launch("refused", *TINY, f"site.nvme={nvme}", others)
        state = bed.wait(folder)

    assert state["status"] == "failed"
    assert "1 nodes can work; the run needs 2. Not fit: node2: " in state["error"]
    assert "--exclude=node2" in state["error"]
    assert not list(folder.glob("logs/*/rank-*.log"))
    # One of two: that may as well be what was asked of them.
    assert not (folder.parent / ".llmtrain-exclude.yaml").exists()


def test_all_reduces_are_measured_on_the_nodes_that_are_fit(bed: Bed) -> None:
    """In each node, with two others and over all, with gloo; a CPU's figures are only said."""
    words = ("site.preflight.depth=burn", "nodes.spare=1")
    with full_disk(bed, 1) as nvme:
        folder = bed.launch("measured", *TINY, *words, f"site.nvme={nvme}")
        assert bed.wait(folder)["status"] == "finished"

    found = {
        path.parent.name: json.loads(path.read_text())
        for path in folder.glob("logs/*/measured.json")
    }
    assert sorted(found) == ["node2", "node3"]
    for each in found.values():
        assert each["verdict"] == "pass", each
        told = [line["figure"] for line in each["report"]["lines"]]
        assert sorted(told) == ["bus_all", "bus_node", "bus_pair", "gemm", "gemm"]
        assert all(line["value"] > 0 for line in each["report"]["lines"])
    assert [each["unfit"] for each in events(folder) if each["event"] == "preflight"] == [1, 0]


NVIDIA_SMI = """
[[ $1 == --query-gpu* ]] || exit 1
for gpu in 0 1; do
    echo "$gpu, NVIDIA H100 80GB HBM3, 00000000:1$gpu:00.0, 81559 MiB, 0, 16, Enabled, 550.54.15"
done
"""
TORCH = r"""
import os, sys
log = os.environ.get("NCCL_DEBUG_FILE")
if log:
    open(log, "w").write("n:1:1 [0] NCCL INFO NET/IB : No device found.\n"
                         "n:1:1 [0] NCCL INFO Using network Socket\n")
sys.exit(0)
"""
"""Stands for a torch whose NCCL finds no fabric."""


def test_sockets_where_a_fabric_is_promised_end_the_job(
    bed: Bed, program: str, shims: Callable[..., str]
) -> None:
    """Before a rank starts; the error says what NCCL chose, why, and which variables count."""
    (bed.folder / "fake" / "torch").mkdir(parents=True)
    (bed.folder / "fake" / "torch" / "__init__.py").write_text(TORCH)
    environment = {"PATH": shims(**{"nvidia-smi": NVIDIA_SMI})}
    environment["PYTHONPATH"] = str(bed.folder / "fake")
    asked = ("policy=stop", "depth=network")
    words = (*(f"site.preflight.{each}" for each in asked), "cluster.network.kind=efa")
    folder = bed.launch("sockets", "recipe=bed-program", program, *words, **environment)
    state = bed.wait(folder)

    assert state["status"] == "failed"
    assert "NCCL sends by Socket; efa is promised; no RDMA device answers" in state["error"]
    assert "NCCL_IB_HCA" in state["error"] and "--exclude" not in state["error"]
    assert not list(folder.glob("logs/*/rank-*.log"))


def left_out(bed: Bed, job: str) -> str:
    """Nodes that Slurm keeps a job off."""
    said = bed.run("scontrol", "show", "job", job)
    return said.partition("ExcNodeList=")[2].split()[0]


def test_the_next_job_learns_which_nodes_to_leave_out(
    bed: Bed, program: str, shims: Callable[..., str]
) -> None:
    """The one that waits in a chain at once, the same one again when it is back in the queue.

    It has three of the four nodes. Which they are at first is Slurm's choice.
    """
    asked = ("site.preflight.policy=stop", "nodes.spare=1", "env.PROGRAM_SECONDS='600'")
    path = shims(**{"nvidia-smi": NVIDIA_SMI})
    with full_disk(bed, 1) as nvme:
        words = ("recipe=bed-program", program, *asked, f"site.nvme={nvme}")
        chain = bed.launch("chain", *words, "site.slurm.restart=chain", PATH=path)
        bed.until(lambda: (chain / "control" / "hosts").exists(), "the start of the ranks")
        waits = (chain / "control" / "chain").read_text().strip()
        assert left_out(bed, waits) == "node1"
        bed.llmtrain("cancel", chain.name)
        (chain.parent / ".llmtrain-exclude.yaml").unlink()
        bed.clear()

        again = bed.launch("again", *words, PATH=path)
        near_the_time_limit(bed, again)

        def starts() -> list[str]:
            found = [each for each in events(again) if each["event"] == "launched"]
            return [each["nodes"] for each in found]

        bed.until(lambda: len(starts()) == 2, "the second start")

    first, second = starts()
    assert (first != second, second) == (True, "node[2-4]")


SENDS = r"""
import os, pathlib, time
lines = {
    "Socket": ("NET/IB : No device found.", "Using network Socket"),
    "Libfabric": ("NET/OFI Selected provider is efa, fabric is efa", "Using network Libfabric"),
}
if log := os.environ.get("NCCL_DEBUG_FILE"):
    said = (f"n:1:1 [0] NCCL INFO {line}\n" for line in lines[os.environ["SENDS_BY"]])
    pathlib.Path(log).write_text("".join(said))
time.sleep(float(os.environ["PROGRAM_SECONDS"]))
"""
"""Stands for a program whose NCCL says how it sends."""


def test_ranks_that_send_by_sockets_where_a_fabric_is_promised_are_ended(
    bed: Bed, tmp_path: Path, shims: Callable[..., str]
) -> None:
    """Without being asked for, in the run's first minute, once: no restart is spent on it."""
    (tmp_path / "pretrain_gpt.py").write_text(SENDS)
    asked = ("site.preflight.policy=stop", "cluster.network.kind=efa")
    words = ("recipe=bed-program", f"backend.path={tmp_path}", *asked)
    path = shims(**{"nvidia-smi": NVIDIA_SMI})

    def launch(name: str, by: str, seconds: str) -> Path:
        more = (f"env.SENDS_BY={by}", f"env.PROGRAM_SECONDS='{seconds}'")
        return bed.launch(name, *words, f"site.launch={name}", *more, PATH=path)

    right, wrong = launch("srun", "Libfabric", "4"), launch("torchrun", "Socket", "600")
    assert bed.wait(right)["status"] == "finished"
    state = bed.wait(wrong)

    assert state["status"] == "failed"
    assert "nodes, node" in state["error"] and "NCCL sends by Socket" in state["error"]
    assert "NCCL_IB_HCA" in state["error"]
    told = [each for each in events(wrong) if each["event"] in ("launched", "job_ended")]
    assert [each["event"] for each in told] == ["launched", "job_ended"]
    assert told[-1]["next"] is None and "NCCL sends by Socket" in told[-1]["reason"]
    why = json.loads(bed.llmtrain("why", wrong.name, "--json"))
    assert (why["class"], why["host"][:4]) == ("fabric", "node")
    left = {path.read_text().split()[0] for path in right.glob("control/transport/*")}
    assert left == {"pass"}
