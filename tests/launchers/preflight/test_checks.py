"""A healthy node passes; each fault is found, by its own check, at the level that it deserves."""

import resource
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from llmtrain.config.compose import compose
from llmtrain.config.place import Cluster
from llmtrain.launchers.preflight.checks import judge
from llmtrain.launchers.preflight.facts import read_facts
from llmtrain.launchers.preflight.finding import Finding
from llmtrain.launchers.preflight.gpus import QUERY
from llmtrain.launchers.preflight.machine import Machine, run_command
from llmtrain.launchers.screening import limits, promise_of

GPU = "{}, NVIDIA H100 80GB HBM3, 00000000:{}1:00.0, 81559 MiB, 0, 16, Enabled, 550.54.15"
DETAILS = """\
    Ecc Mode
        Current                           : Enabled
        Pending                           : Enabled
    Remapped Rows
        Correctable Error                 : 0
        Pending                           : No
        Remapping Failure Occurred        : No
    Clocks Event Reasons
        HW Slowdown                       : Not Active
            HW Thermal Slowdown           : Not Active
            HW Power Brake Slowdown       : Not Active
        SW Thermal Slowdown               : Active
    Fabric
        State                             : Completed
        Status                            : Success
"""
TRACKING = "Reference ID    : 0A000001\nSystem time     : 0.000012 seconds slow of NTP time\n"
SMI = f"nvidia-smi --query-gpu={QUERY} --format=csv,noheader"

Judge = Callable[..., list[Finding]]


def commands() -> dict[str, str]:
    """What the tools of a healthy node print."""
    links = "".join(f"\t Link {number}: 26.562 GB/s\n" for number in range(18))
    return {
        SMI: "".join(f"{GPU.format(number, number)}\n" for number in range(8)),
        "nvidia-smi -q": DETAILS,
        "nvidia-smi nvlink -s": "".join(
            f"GPU {number}: H100 (UUID: x)\n{links}" for number in range(8)
        ),
        "dmesg": "[1.0] NVRM: loading NVIDIA UNIX x86_64 Kernel Module\n",
        "chronyc -n tracking": TRACKING,
    }


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files of a healthy node with eight InfiniBand ports, and its limits."""
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    monkeypatch.setattr(
        "llmtrain.launchers.preflight.facts.resource.getrlimit", lambda what: unlimited
    )
    for number in range(8):
        put(tmp_path, f"{PORT.format(number)}/state", "4: ACTIVE")
        put(tmp_path, f"{PORT.format(number)}/rate", "400 Gb/sec (4X NDR)")
        put(tmp_path, f"{PORT.format(number)}/link_layer", "InfiniBand")
        put(tmp_path, f"{PORT.format(number)}/pkeys/0", "0xffff")
        for counter in ("link_downed", "symbol_error", "port_rcv_errors"):
            put(tmp_path, f"{PORT.format(number)}/counters/{counter}", "0")
    put(tmp_path, "proc/uptime", "90000.12 1.0")
    put(tmp_path, "proc/modules", "nvidia_peermem 16384 0 - Live 0x0")
    put(tmp_path, "proc/sys/kernel/numa_balancing", "0")
    put(tmp_path, "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "performance")
    (tmp_path / "dev/shm").mkdir(parents=True)
    return tmp_path


PORT = "sys/class/infiniband/mlx5_{}/ports/1"


def put(root: Path, path: str, text: str) -> None:
    """A file as the kernel shows it."""
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(f"{text}\n")


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """Eight H100 and eight NDR ports."""
    return compose(["recipe=llama2-7b", "cluster=hgx-h100-ib"]).cluster


@pytest.fixture
def judged(tree: Path, cluster: Cluster) -> Judge:
    """What is found when the tools print this."""

    def judge_it(
        printed: Mapping[str, str | None] | None = None,
        room: Mapping[str, tuple[str, int]] | None = None,
    ) -> list[Finding]:
        said = commands() | dict(printed or {})

        def run(words: Sequence[str]) -> str | None:
            return said.get(" ".join(words))

        room = {str(tree): ("disk_nvme", 0)} if room is None else room
        facts = read_facts(Machine(root=tree, run=run), [Path(folder) for folder in room])
        return judge(facts, promise_of(cluster, room=room))

    return judge_it


def bad(found: list[Finding]) -> dict[str, str]:
    """Level of every check that did not pass."""
    return {each.check: each.level for each in found if each.level != "pass"}


def test_a_healthy_node(judged: Judge) -> None:
    """Passes all that there is to check of one node."""
    found = judged()
    # Of nodes beside each other, and of what is measured.
    others = ("same_", "clocks_", "first_", "gemm", "bus_", "measured", "transport", "gpu_direct")
    of_one = {check for check in limits() if not check.startswith((*others, "ports"))}

    assert bad(found) == {}
    assert {each.check for each in found} == of_one - {"disk_checkpoints"}


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


FILES = {
    "nic_count": ("/state", "1: DOWN"),
    "nic_rate_percent": ("/rate", "200 Gb/sec (4X HDR)"),
    "link_downed": ("/counters/link_downed", "7"),
    "symbol_error": ("/counters/symbol_error", "1"),
    "receive_errors": ("/counters/port_rcv_errors", "101"),
    "partition": ("/pkeys/0", "0x7fff"),
}


@pytest.mark.parametrize("check", FILES)
def test_what_the_kernel_says_of_a_port(judged: Judge, tree: Path, check: str) -> None:
    """The port is named."""
    name, text = FILES[check]
    put(tree, PORT.format(5) + name, text)
    found = judged()

    assert bad(found) == {check: limits()[check]["level"]}
    assert "mlx5_5" in found[0].says


def test_ports_of_the_wrong_kind(judged: Judge, tree: Path) -> None:
    """Ethernet where InfiniBand is promised: both what there is and what is active fall short."""
    put(tree, PORT.format(5) + "/link_layer", "Ethernet")

    assert bad(judged()) == {"link_layer": "stop", "nic_count": "stop"}


def test_limits_of_the_process(judged: Judge, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too little memory that may be locked ends in a slow or broken fabric; too few files too."""
    monkeypatch.setattr(
        "llmtrain.launchers.preflight.facts.resource.getrlimit", lambda what: (64, 64)
    )
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
