"""Facts of a node against what its cluster promises."""

from __future__ import annotations

from collections.abc import Iterator

from .buses import judge_buses
from .facts import Facts
from .finding import Finding, finding, shown, worst_first
from .gpus import GpuFacts
from .ports import judge_ports
from .promise import Limits, Promise
from .settings import judge_settings

ON = {True: "on", False: "off", None: "not known"}


def judge(facts: Facts, promise: Promise) -> list[Finding]:
    """Every check that makes sense of what was promised; the worst first."""
    found = list(_host(facts, promise))
    if promise.device != "cpu":
        found += [*_gpus(facts, promise), *_health(facts, promise.limits)]
        found += judge_buses(facts, promise)
        found += judge_settings(facts.settings, facts.versions.get("nccl"), promise.limits)
    return worst_first([*found, *judge_ports(facts, promise)])


def _gpus(facts: Facts, promise: Promise) -> Iterator[Finding]:
    limits, gpus = promise.limits, facts.graphics.gpus
    known = promise.device is not None
    if gpus is None:
        good = False if known else None
        yield finding(limits, "gpu_count", good, "nvidia-smi does not answer")
        return
    if known:
        says = f"{len(gpus)} GPUs of {promise.gpus}"
        yield finding(limits, "gpu_count", len(gpus) >= promise.gpus, says)
        yield from _models(gpus, promise)
        yield _nvlinks(facts, promise)
    for gpu in gpus:
        yield from _one_gpu(gpu, limits)


def _models(gpus: tuple[GpuFacts, ...], promise: Promise) -> Iterator[Finding]:
    limits, chip = promise.limits, promise.gpu_name.partition("-")[0]
    other = sorted({gpu.name for gpu in gpus if chip not in gpu.name})
    said = f"{', '.join(other)}, not {chip}" if other else chip
    yield finding(limits, "gpu_model", not other, said)
    promised = promise.gpu_memory_bytes
    least = min((gpu.memory_bytes for gpu in gpus if gpu.memory_bytes), default=None)
    if promised and least:
        enough = least >= promised * (1 - limits["memory_below_percent"]["value"] / 100)
        says = f"{least / 2**30:.1f} GiB of {promised / 2**30:.1f} GiB"
        yield finding(limits, "memory_below_percent", enough, says)


def _nvlinks(facts: Facts, promise: Promise) -> Finding:
    limits, links = promise.limits, facts.graphics.nvlinks
    wanted = limits["nvlinks"]["value"].get(promise.gpu_arch)
    if not wanted or not promise.nvlink or links is None:
        return finding(limits, "nvlinks", None, "not known")
    low = [number for number, count in enumerate(links) if count < wanted]
    says = f"GPU {', '.join(map(str, low))}: fewer than" if low else "every GPU:"
    return finding(limits, "nvlinks", not low, f"{says} {wanted} links active")


def _one_gpu(gpu: GpuFacts, limits: Limits) -> Iterator[Finding]:
    where = f"GPU {gpu.number} ({gpu.pci})"
    errors = gpu.ecc_uncorrected
    good = None if errors is None else errors <= limits["ecc_uncorrected"]["value"]
    says = f"{where}: {shown(errors)} uncorrected ECC errors"
    yield finding(limits, "ecc_uncorrected", good, says)
    width = gpu.pcie_width
    wide = None if width is None else width >= limits["pcie_width"]["value"]
    yield finding(limits, "pcie_width", wide, f"{where}: PCIe x{shown(width)}")
    says = f"{where}: persistence mode {ON[gpu.persistent]}"
    yield finding(limits, "persistence", gpu.persistent, says)


def _health(facts: Facts, limits: Limits) -> Iterator[Finding]:
    graphics = facts.graphics
    trouble = graphics.remap_trouble
    says = f"a row remapping is pending or has failed: {shown(trouble)}"
    yield finding(limits, "row_remap", None if trouble is None else not trouble, says)
    rows = graphics.remapped_rows
    few = None if rows is None else rows <= limits["remapped_rows"]["value"]
    yield finding(limits, "remapped_rows", few, f"rows remapped on one GPU: {shown(rows)}")
    most, counts = limits["ecc_corrected"]["value"], graphics.ecc_corrected
    good = all(count <= most[kind] for kind, count in counts.items()) if counts else None
    said = ", ".join(f"{count} of {kind.upper()}" for kind, count in counts.items())
    says = f"corrected ECC errors of one GPU: {said or 'not known'}"
    yield finding(limits, "ecc_corrected", good, says)
    state = graphics.fabric
    good = None if state in (None, "N/A") else state == limits["fabric"]["value"]
    yield finding(limits, "fabric", good, f"NVSwitch fabric: {shown(state)}")
    low = graphics.slowdown
    says = (
        f"clocks held low by the board: {shown(low if low is None else ', '.join(low) or 'none')}"
    )
    yield finding(limits, "slowdown", None if low is None else not low, says)
    yield _xids(facts, limits)


def _xids(facts: Facts, limits: Limits) -> Finding:
    if facts.graphics.xids is None:
        return finding(limits, "xid", None, "the kernel's log cannot be read")
    limit, hours = limits["xid"]["value"], limits["xid"]["hours"]
    hard = [
        f"{number} of {pci}"
        for pci, number, age in facts.graphics.xids
        if number in limit and (age is None or age <= hours)
    ]
    says = f"Xid {', '.join(hard)}" if hard else f"no hard Xid in the last {hours} hours"
    return finding(limits, "xid", not hard, says)


def _host(facts: Facts, promise: Promise) -> Iterator[Finding]:
    limits, files = promise.limits, facts.open_files
    enough = files < 0 or files >= limits["open_files"]["value"]
    yield finding(limits, "open_files", enough, f"{files} open files")
    shared = facts.shared_memory_bytes
    good = None if shared is None else shared >= limits["shared_memory_bytes"]["value"]
    yield finding(limits, "shared_memory_bytes", good, f"bytes free in /dev/shm: {shown(shared)}")
    for check in ("numa_balancing", "governor"):
        value = getattr(facts, check)
        yield finding(
            limits,
            check,
            None if value is None else value == limits[check]["value"],
            f"{check}: {shown(value)}",
        )
    off = facts.clock_seconds
    on_time = None if off is None else off < limits["clock_seconds"]["value"]
    yield finding(limits, "clock_seconds", on_time, f"clock off by (s): {shown(off)}")
    yield from _disks(facts, promise)


def _disks(facts: Facts, promise: Promise) -> Iterator[Finding]:
    for folder, free in facts.free_bytes.items():
        check, needed = promise.room[folder]
        says = f"{folder}: {free / 2**30:.1f} GiB free, {needed / 2**30:.1f} GiB wanted"
        yield finding(promise.limits, check, free >= needed, says)
        writable = folder not in facts.read_only
        says = f"{folder} takes {'a' if writable else 'no'} file"
        yield finding(promise.limits, "disk_writable", writable, says)
