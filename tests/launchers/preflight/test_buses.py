"""Buses and settings of a node: each fault by its own check, and what is none."""

import resource
from pathlib import Path

import pytest

from llmtrain.launchers.screening import limits
from tests.launchers.preflight.conftest import (
    Judge,
    bad,
    limit,
    put,
)

GPU_1 = "sys/bus/pci/devices/0000:11:00.0"
NIC_1 = "sys/class/infiniband/mlx5_1/device"
NODE = {
    "nic_pcie": [(f"{NIC_1}/current_link_speed", "16.0 GT/s PCIe")],
    "gpu_pcie": [(f"{GPU_1}/current_link_width", "8")],
    "numa": [(f"sys/class/infiniband/mlx5_{each}/device/numa_node", "1") for each in range(4)],
    "iommu": [(f"{GPU_1}/iommu_group/type", "DMA-FQ")],
    "huge_pages": [("sys/kernel/mm/transparent_hugepage/enabled", "[always] madvise never")],
    "remove_ipc": [("etc/systemd/logind.conf.d/ours.conf", "RemoveIPC=yes")],
    "nccl_conf": [("etc/nccl.conf", "# ours\nNCCL_DEBUG=WARN\nNCCL_IB_DISABLE=1")],
    "numa_balancing": [("proc/sys/kernel/numa_balancing", "1")],
}


@pytest.mark.parametrize("check", NODE)
def test_what_the_files_of_a_node_say(judged: Judge, tree: Path, check: str) -> None:
    """Each is found by its own check alone."""
    for path, text in NODE[check]:
        put(tree, path, text)

    assert bad(judged()) == {check: limits()[check]["level"]}


FINE = {
    "a slot of generation 4 under all of them": [
        (f"sys/class/infiniband/mlx5_{each}/device/{name}", "16.0 GT/s PCIe")
        for each in range(8)
        for name in ("current_link_speed", "../max_link_speed")
    ],
    "passthrough by the groups": [
        ("proc/cmdline", "intel_iommu=on"),
        (f"{GPU_1}/iommu_group/type", "identity"),
    ],
    "logind as it was built": [("etc/systemd/logind.conf", "#RemoveIPC=no")],
    "what the provider sets": [("etc/nccl.conf", "NCCL_TOPO_FILE=/opt/topology.xml")],
}


@pytest.mark.parametrize("case", FINE)
def test_what_is_no_fault(judged: Judge, tree: Path, case: str) -> None:
    """Other machines are well in other ways."""
    for path, text in FINE[case]:
        put(tree, path, text)

    assert {check: level for check, level in bad(judged()).items() if level != "unknown"} == {}


def test_a_gpu_at_rest_lowers_its_rate(judged: Judge, tree: Path) -> None:
    """That is not known to be a fault."""
    put(tree, f"{GPU_1}/current_link_speed", "2.5 GT/s PCIe")

    assert bad(judged()) == {"gpu_pcie": "unknown"}


def test_a_virtual_machine_is_not_asked_for_its_buses(judged: Judge, tree: Path) -> None:
    """What it shows of them is made up; links of virtual functions have no rate."""
    put(tree, "proc/cpuinfo", "flags : fpu hypervisor")
    put(tree, "proc/cmdline", "intel_iommu=on")
    for name, text in (("speed", "Unknown"), ("width", "0")):
        put(tree, f"{NIC_1}/current_link_{name}", text)
    put(tree, f"{NIC_1}/numa_node", "-1")
    found = judged()

    assert bad(found) == {"nic_pcie": "unknown"}
    assert {"numa", "iommu", "acs"}.isdisjoint(each.check for each in found)


def test_firmware_that_does_not_say_where_a_gpu_is(judged: Judge, tree: Path) -> None:
    """Of a machine with one NUMA node it need not."""
    put(tree, f"{GPU_1}/numa_node", "-1")
    found = judged()
    assert bad(found) == {"numa": "warn"} and "0000:11:00.0" in found[0].says

    (tree / "sys/devices/system/node/node1/cpulist").unlink()
    (tree / "sys/devices/system/node/node1").rmdir()
    assert bad(judged()) == {}


def test_an_image_does_not_say_how_its_node_is_set(judged: Judge, tree: Path) -> None:
    """In a container logind.conf is the image's."""
    (tree / "run/systemd/system").rmdir()

    assert bad(judged()) == {"remove_ipc": "unknown"}


@pytest.mark.parametrize(("nccl", "level"), [("2.27.3", {"stack": "warn"}), ("2.28.3", {})])
def test_a_stack_without_a_limit(
    judged: Judge, monkeypatch: pytest.MonkeyPatch, nccl: str, level: dict[str, str]
) -> None:
    """NCCL minds it by itself from 2.28 on."""
    limit(monkeypatch, resource.RLIM_INFINITY, stack=resource.RLIM_INFINITY)
    monkeypatch.setattr("llmtrain.launchers.preflight.versions._nccl", lambda machine: nccl)

    assert bad(judged()) == level


def test_a_file_of_the_user_s_own(
    judged: Judge, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it sets; NCCL_CONF_FILE takes its place."""
    put(tree, "home/me/.nccl.conf", "NCCL_DEBUG = INFO")
    found = judged()
    assert bad(found) == {"nccl_conf": "warn"}
    assert "NCCL_DEBUG=INFO in /home/me/.nccl.conf" in found[0].says

    monkeypatch.setenv("NCCL_CONF_FILE", "/nowhere")
    assert bad(judged()) == {}
