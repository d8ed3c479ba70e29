"""The buses of a node: PCIe links, NUMA nodes, and what stands between GPUs and NICs."""

from __future__ import annotations

from collections.abc import Iterator

from .facts import Facts
from .finding import Finding, finding, joint, shown
from .pcie import Device
from .ports import LAYERS, fabric_nics
from .promise import Limits, Promise


def judge_buses(facts: Facts, promise: Promise) -> Iterator[Finding]:
    """Links below what they can, NICs far from GPUs, and detours; nothing without a GPU."""
    limits, pcie = promise.limits, facts.pcie
    if not facts.graphics.gpus:
        return
    fabric = fabric_nics(facts, promise) if promise.network in LAYERS else []
    names = {nic.name for nic in fabric if nic.state == "ACTIVE"}
    nics = [each for each in pcie.nics if each.name in names]
    # A GPU at rest lowers its rate: that alone says nothing.
    links = {each.name: _link(each, rests=True) for each in pcie.gpus}
    yield joint(limits, "gpu_pcie", "GPU's PCIe", links)
    yield _generation(facts, promise)
    if nics:
        links = {each.name: _link(each, rests=False) for each in nics}
        yield joint(limits, "nic_pcie", "NIC's PCIe", links)
    if not pcie.virtual:
        yield _numa(facts, nics, limits)
        yield from _detours(facts, limits)


def _link(each: Device, *, rests: bool) -> tuple[bool | None, str]:
    if None in (each.lanes, each.most_lanes, each.gt_per_s, each.most_gt_per_s):
        return None, "not known"
    says = f"{each.gt_per_s:g} GT/s x{each.lanes} of {each.most_gt_per_s:g} GT/s x{each.most_lanes}"
    if (each.lanes or 0) < (each.most_lanes or 0):
        return False, says
    if (each.gt_per_s or 0) < (each.most_gt_per_s or 0):
        return (None, f"{says}, at rest; not known under load") if rests else (False, says)
    return True, says


def _generation(facts: Facts, promise: Promise) -> Finding:
    limits, found = promise.limits, facts.graphics.pcie_generation
    wanted = limits["pcie_generation"]["value"].get(promise.gpu_arch)
    good = None if found is None or wanted is None else found >= wanted
    says = f"PCIe of GPU and slot: generation {shown(found)} of {shown(wanted)}"
    return finding(limits, "pcie_generation", good, says)


def _numa(facts: Facts, nics: list[Device], limits: Limits) -> Finding:
    pcie = facts.pcie
    devices = [*pcie.gpus, *nics]
    if pcie.numa_nodes == 1:
        return finding(limits, "numa", True, "one NUMA node")
    if not pcie.numa_nodes or any(each.numa_node is None for each in devices):
        return finding(limits, "numa", None, "NUMA nodes of GPUs and NICs: not known")
    silent = [each.name for each in devices if each.numa_node == -1]
    if silent:
        says = f"the firmware does not say the NUMA node of {', '.join(silent)}"
        return finding(limits, "numa", False, says)
    ours, theirs = ({each.numa_node or 0 for each in some} for some in (pcie.gpus, nics))
    far = sorted(ours - theirs) if len(nics) >= len(ours) else []
    says = f"no NIC on NUMA node {', '.join(map(str, far))}, where GPUs are" if far else "known"
    return finding(limits, "numa", not far, f"NUMA nodes of GPUs and NICs: {says}")


def _detours(facts: Facts, limits: Limits) -> Iterator[Finding]:
    iommu, acs = facts.pcie.iommu, facts.pcie.acs
    good = None if iommu is None else iommu in limits["iommu"]["value"]
    yield finding(limits, "iommu", good, f"IOMMU: {shown(iommu)}")
    says = {True: "on, GPU and NIC meet at the root only", False: "off", None: "not known"}
    yield finding(limits, "acs", None if acs is None else not acs, f"PCIe ACS: {says[acs]}")
