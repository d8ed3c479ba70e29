"""A healthy node passes; each fault is found, by its own check, at the level that it deserves."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from llmtrain.config.place import Cluster
from llmtrain.launchers.preflight.checks import judge
from llmtrain.launchers.preflight.facts import read_facts
from llmtrain.launchers.preflight.machine import Machine, run_command
from llmtrain.launchers.screening import limits, promise_of
from tests.launchers.preflight.conftest import (
    DETAILS,
    DEVINFO,
    GPU,
    SMI,
    TRACKING,
    Judge,
    bad,
    commands,
    limit,
    put,
)


def test_a_healthy_node(judged: Judge) -> None:
    """Passes all that there is to check of one node."""
    found = judged()
    # Of nodes beside each other, and of what is measured.
    others = ("same_", "clocks_", "first_", "gemm", "bus_", "measured", "transport", "gpu_direct")
    of_one = {check for check in limits() if not check.startswith((*others, "ports"))}

    assert bad(found) == {}
    assert {each.check for each in found} == of_one - {"disk_checkpoints", "roce_gid", "net_mtu"}


SAID = {
    "gpu_count": {SMI: f"{GPU.format(0, 0)}\n"},
    "gpu_model": {SMI: commands()[SMI].replace("H100", "A100")},
    "memory_below_percent": {SMI: commands()[SMI].replace("81559", "80000", 1)},
    "ecc_uncorrected": {SMI: commands()[SMI].replace("MiB, 0,", "MiB, 3,", 1)},
    "pcie_width": {SMI: commands()[SMI].replace(", 16,", ", 8,", 1)},
    "persistence": {SMI: commands()[SMI].replace("Enabled", "Disabled", 1)},
    "row_remap": {
        "nvidia-smi -q": DETAILS.replace("Occurred        : No", "Occurred        : Yes")
    },
    "remapped_rows": {"nvidia-smi -q": DETAILS.replace("Error               : 2", "Error   : 513")},
    "ecc_corrected": {"nvidia-smi -q": DETAILS.replace(": 12\n", ": 10001\n")},
    "pcie_generation": {"nvidia-smi -q": DETAILS.replace(": 5\n", ": 4\n")},
    "mtu": {
        "ibv_devinfo": DEVINFO.format(5).replace(
            "active_mtu:\t\t4096 (5)", "active_mtu:\t\t1024 (3)"
        )
    },
    "acs": {"lspci -vvv": "\t\tACSCtl:\tSrcValid- \n\t\tACSCtl:\tSrcValid+ TransBlk-\n"},
    "flaps": {"dmesg": "[89999.1] mlx5_core 0000:52:00.0 ib5: Link down\n" * 5},
    "fabric": {"nvidia-smi -q": DETAILS.replace("Completed", "In Progress")},
    "nvlinks": {
        "nvidia-smi nvlink -s": commands()["nvidia-smi nvlink -s"].replace(
            "Link 3: 26.562 GB/s", "Link 3: <inactive>", 1
        )
    },
    "xid": {
        "dmesg": "[89999.1] NVRM: Xid (PCI:0000:4e:00): 79, pid=1, GPU has fallen off the bus.\n"
    },
    "slowdown": {
        "nvidia-smi -q": DETAILS.replace("Slowdown           : Not ", "Slowdown           : ")
    },
    "clock_seconds": {"chronyc -n tracking": TRACKING.replace("0.000012", "2.5")},
}


@pytest.mark.parametrize("check", SAID)
def test_what_the_tools_say(judged: Judge, check: str) -> None:
    """Each fault is found by its own check alone."""
    assert bad(judged(SAID[check])) == {check: limits()[check]["level"]}


def test_limits_of_the_process(judged: Judge, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too little memory that may be locked ends in a slow or broken fabric; too few files too."""
    limit(monkeypatch, 64)
    put(tree, "proc/modules", "ext4 1 0 - Live 0x0")
    put(tree, "proc/sys/kernel/numa_balancing", "1")

    assert bad(judged()) == {
        "locked_memory": "stop",
        "open_files": "warn",
        "peer_memory": "warn",
        "numa_balancing": "warn",
    }


def test_xids_that_are_the_program_s_own(judged: Judge) -> None:
    """13 and 43 do not stop a node."""
    log = "NVRM: Xid (PCI:0000:4e:00): 13, x\nNVRM: Xid (PCI:0000:4e:00): 43, x\n"

    assert bad(judged({"dmesg": log})) == {}


def test_xids_of_the_job_before(judged: Judge) -> None:
    """What is older than the limit was seen to; without a time it counts."""
    line = "NVRM: Xid (PCI:0000:4e:00): 79, pid=1, GPU has fallen off the bus.\n"

    assert bad(judged({"dmesg": f"[   60.5] {line}"})) == {}
    assert bad(judged({"dmesg": line})) == {"xid": "stop"}


def test_disks(judged: Judge, tree: Path) -> None:
    """Too little room on the node's own disk stops it; for checkpoints it is a warning."""
    much = 2**60
    room = {str(tree): ("disk_nvme", much), str(tree / "dev"): ("disk_checkpoints", much)}

    assert bad(judged(room=room)) == {"disk_nvme": "stop", "disk_checkpoints": "warn"}
    assert bad(judged(room={"/proc": ("disk_nvme", 0)})) == {"disk_writable": "stop"}


def test_tools_that_are_not_there(judged: Judge) -> None:
    """No GPU answers: the node is not what was promised; the rest is not known."""
    found = bad(judged(dict.fromkeys(commands())))

    assert found.pop("gpu_count") == "stop"
    assert set(found.values()) == {"unknown"}


def test_what_is_not_known_is_not_said_to_be_well(tree: Path, cluster: Cluster) -> None:
    """Where nothing can be read, every finding that is no verdict says that."""
    gpus = f"0, NVIDIA H100 80GB HBM3, {'[N/A], ' * 5}550.54.15\n"
    nothing: dict[str, str] = {}
    for known in (nothing, {SMI: gpus}):

        def run(words: Sequence[str], known: Mapping[str, str] = known) -> str | None:
            return known.get(" ".join(words))

        machine = Machine(root=tree / "empty", run=run)
        found = judge(read_facts(machine), promise_of(cluster, room={}))
        unknown = {each.check: each.says for each in found if each.level == "unknown"}

        assert {"slowdown", "row_remap", "governor", "peer_memory"} <= unknown.keys()
        for check, says in unknown.items():
            assert any(word in says for word in ("not known", "cannot be read")), (check, says)


def test_a_machine_without_a_promise() -> None:
    """This one, whatever it is: nothing is read wrong, and nothing stops it."""
    room = {"/": ("disk_checkpoints", 0)}
    found = judge(read_facts(Machine(), (Path("/"),)), promise_of(None, room=room))

    assert {each.level for each in found} <= {"pass", "warn", "unknown", "stop"}
    assert "gpu_model" not in {each.check for each in found}


def test_commands_that_hang_or_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """Say nothing."""
    monkeypatch.setattr("llmtrain.launchers.preflight.machine.SECONDS", 0.1)

    assert run_command(("sleep", "5")) is None
    assert run_command(("false",)) is None
    assert run_command(("no-such-command-here",)) is None
    assert run_command(("echo", "a")) == "a\n"
