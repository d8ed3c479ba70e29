"""A healthy node of eight H100 and eight NDR ports, as files and as what its tools print."""

import resource
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from pathlib import Path

import pytest

from llmtrain.config.compose import compose
from llmtrain.config.place import Cluster
from llmtrain.launchers.preflight.checks import judge
from llmtrain.launchers.preflight.facts import read_facts
from llmtrain.launchers.preflight.finding import Finding
from llmtrain.launchers.preflight.gpus import QUERY
from llmtrain.launchers.preflight.machine import Machine
from llmtrain.launchers.screening import promise_of

GPU = "{}, NVIDIA H100 80GB HBM3, 00000000:{}1:00.0, 81559 MiB, 0, 16, Enabled, 550.54.15"
DETAILS = """\
    Ecc Mode
        Current                           : Enabled
        Pending                           : Enabled
    GPU Link Info
        PCIe Generation
            Max                           : 5
            Current                       : 1
    ECC Errors
        Volatile
            SRAM Correctable              : 12
            SRAM Uncorrectable Parity     : 0
            DRAM Correctable              : 345
        Aggregate
            SRAM Correctable              : 99999
            DRAM Correctable              : 99999999
    Remapped Rows
        Correctable Error                 : 700
        Uncorrectable Error               : 2
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
DEVINFO = """\
hca_id:\tmlx5_{}
\ttransport:\t\t\tInfiniBand (0)
\t\tport:\t1
\t\t\tmax_mtu:\t\t4096 (5)
\t\t\tactive_mtu:\t\t4096 (5)

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
        "ibv_devinfo": "".join(DEVINFO.format(number) for number in range(8)),
        "lspci -vvv": "\t\tACSCtl:\tSrcValid- TransBlk- ReqRedir-\n",
        "dmesg": "[1.0] NVRM: loading NVIDIA UNIX x86_64 Kernel Module\n",
        "chronyc -n tracking": TRACKING,
    }


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files of a healthy node with eight InfiniBand ports, and its limits."""
    limit(monkeypatch, resource.RLIM_INFINITY)
    monkeypatch.setenv("HOME", "/home/me")
    for number in range(8):
        put_devices(tmp_path, number)
        put(tmp_path, f"{PORT.format(number)}/state", "4: ACTIVE")
        put(tmp_path, f"{PORT.format(number)}/phys_state", "5: LinkUp")
        put(tmp_path, f"{PORT.format(number)}/rate", "400 Gb/sec (4X NDR)")
        put(tmp_path, f"{PORT.format(number)}/link_layer", "InfiniBand")
        put(tmp_path, f"{PORT.format(number)}/pkeys/0", "0xffff")
        for counter in COUNTERS:
            put(tmp_path, f"{PORT.format(number)}/counters/{counter}", "0")
    for path, text in HOST.items():
        put(tmp_path, path, text)
    put(tmp_path, "proc/uptime", "90000.12 1.0")
    put(tmp_path, "proc/modules", "nvidia_peermem 16384 0 - Live 0x0")
    put(tmp_path, "proc/sys/kernel/numa_balancing", "0")
    put(tmp_path, "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "performance")
    for folder in ("dev/shm", "run/systemd/system"):
        (tmp_path / folder).mkdir(parents=True)
    return tmp_path


PORT = "sys/class/infiniband/mlx5_{}/ports/1"
COUNTERS = ("link_downed", "symbol_error", "port_rcv_errors", "port_xmit_discards")
HOST = {
    "proc/cpuinfo": "processor : 0\nflags : fpu vme",
    "proc/cmdline": "BOOT_IMAGE=/vmlinuz root=/dev/sda1 iommu=pt",
    "sys/devices/system/node/node0/cpulist": "0-55",
    "sys/devices/system/node/node1/cpulist": "56-111",
    "sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never",
    "etc/systemd/logind.conf": "[Login]\n#RemoveIPC=yes\nRemoveIPC=no",
}
"""Files of bare metal with two NUMA nodes."""


def put_devices(root: Path, number: int) -> None:
    """A GPU and a NIC below the same bridge, whose slot is of generation 5."""
    bridge = root / f"sys/devices/pci0000:{number}0/0000:{number}0:00.0"
    addresses = (f"0000:{number}1:00.0", f"0000:{number}2:00.0")
    for address in addresses:
        for kind, folder in product(("current", "max"), (bridge, bridge / address)):
            put(folder, f"{kind}_link_speed", "32.0 GT/s PCIe")
            put(folder, f"{kind}_link_width", "16")
        put(bridge / address, "numa_node", str(number // 4))
    (bridge / addresses[1] / f"net/ib{number}").mkdir(parents=True)
    net = {"carrier_changes": "2", "mtu": "4092", "operstate": "up"}
    for name, text in net.items():
        put(root, f"sys/class/net/ib{number}/{name}", text)
    links = (f"bus/pci/devices/{addresses[0]}", f"class/infiniband/mlx5_{number}/device")
    for link, address in zip(links, addresses, strict=True):
        (root / "sys" / link).parent.mkdir(parents=True, exist_ok=True)
        (root / "sys" / link).symlink_to(bridge / address)


def limit(monkeypatch: pytest.MonkeyPatch, value: int, stack: int = 8192 * 1024) -> None:
    """Of what a process may have; its stack has one of its own."""

    def getrlimit(what: int) -> tuple[int, int]:
        return (stack, stack) if what == resource.RLIMIT_STACK else (value, value)

    monkeypatch.setattr("llmtrain.launchers.preflight.facts.resource.getrlimit", getrlimit)


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
