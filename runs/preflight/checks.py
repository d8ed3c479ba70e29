"""Facts of a node against what its cluster promises."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal

import yaml

from llmtrain.config.place import Cluster
from llmtrain.runs.preflight.facts import Facts, GpuFacts, NicFacts

Level = Literal["pass", "warn", "stop", "unknown"]

LAYERS = {"infiniband": "InfiniBand", "roce": "Ethernet"}
"""Link layer of a fabric's ports; the others have their own ways."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One check."""

    check: str
    """Its name."""
    level: Level
    """unknown: it cannot be read here."""
    says: str
    """What was found, and what should be."""
    source: str
    """Where the limit was read."""

    def as_json(self) -> dict[str, str]:
        """For ``--json``."""
        return {
            "check": self.check,
            "level": self.level,
            "says": self.says,
            "source": self.source,
        }


@cache
def limits() -> Mapping[str, Mapping[str, Any]]:
    """limits.yaml."""
    text = files("llmtrain.runs.preflight").joinpath("limits.yaml").read_text(encoding="utf-8")
    found: Mapping[str, Mapping[str, Any]] = yaml.safe_load(text)
    return found


def judge(facts: Facts, cluster: Cluster | None, checkpoint_bytes: int = 0) -> list[Finding]:
    """Every check that the cluster, if it is known, makes sense of; the worst first."""
    found = [*_host(facts, checkpoint_bytes)]
    if cluster is None or cluster.device == "cuda":
        found += [*_gpus(facts, cluster), *_health(facts)]
    if cluster is not None and cluster.network.kind in LAYERS:
        found += [*_nics(facts, cluster), *_transfer(facts)]
    order = ("stop", "warn", "unknown", "pass")
    return sorted(found, key=lambda each: order.index(each.level))


def _finding(check: str, good: bool | None, says: str) -> Finding:
    limit = limits()[check]
    level: Level = limit["level"]
    if good is None:
        level = "unknown"
    elif good:
        level = "pass"
    return Finding(check=check, level=level, says=says, source=limit["source"])


def _value(check: str) -> Any:
    return limits()[check]["value"]


def _gpus(facts: Facts, cluster: Cluster | None) -> Iterator[Finding]:
    gpus = facts.gpus
    if gpus is None:
        yield _finding(
            "gpu_count", None if cluster is None else False, "nvidia-smi does not answer"
        )
        return
    if cluster is not None:
        wanted = cluster.gpus_per_node
        yield _finding("gpu_count", len(gpus) >= wanted, f"{len(gpus)} GPUs of {wanted}")
        yield from _models(gpus, cluster)
        yield _nvlinks(facts, cluster)
    for gpu in gpus:
        yield from _one_gpu(gpu)


def _models(gpus: tuple[GpuFacts, ...], cluster: Cluster) -> Iterator[Finding]:
    chip = cluster.gpu.name.partition("-")[0]
    other = sorted({gpu.name for gpu in gpus if chip not in gpu.name})
    said = f"{', '.join(other)}, not {chip}" if other else chip
    yield _finding("gpu_model", not other, said)
    promised = cluster.gpu.memory_bytes
    least = min((gpu.memory_bytes for gpu in gpus if gpu.memory_bytes), default=None)
    if promised and least:
        enough = least >= promised * (1 - _value("memory_below_percent") / 100)
        says = f"{least / 2**30:.1f} GiB of {promised / 2**30:.1f} GiB"
        yield _finding("memory_below_percent", enough, says)


def _nvlinks(facts: Facts, cluster: Cluster) -> Finding:
    wanted = _value("nvlinks").get(cluster.gpu.arch)
    if not wanted or not cluster.network.nvlink_gb_per_s or facts.nvlinks is None:
        return _finding("nvlinks", None, "not known")
    low = [number for number, links in enumerate(facts.nvlinks) if links < wanted]
    says = f"GPU {', '.join(map(str, low))}: fewer than" if low else "every GPU:"
    return _finding("nvlinks", not low, f"{says} {wanted} links active")


def _one_gpu(gpu: GpuFacts) -> Iterator[Finding]:
    where = f"GPU {gpu.index} ({gpu.pci})"
    errors = gpu.ecc_uncorrected
    good = None if errors is None else errors <= _value("ecc_uncorrected")
    yield _finding("ecc_uncorrected", good, f"{where}: {_shown(errors)} uncorrected ECC errors")
    width = gpu.pcie_width
    wide = None if width is None else width >= _value("pcie_width")
    yield _finding("pcie_width", wide, f"{where}: PCIe x{_shown(width)}")
    yield _finding("persistence", gpu.persistent, f"{where}: persistence mode")


def _health(facts: Facts) -> Iterator[Finding]:
    trouble = facts.remap_trouble
    says = f"a row remapping is pending or has failed: {_shown(trouble)}"
    yield _finding("row_remap", None if trouble is None else not trouble, says)
    state = facts.fabric
    good = None if state in (None, "N/A") else state == _value("fabric")
    yield _finding("fabric", good, f"NVSwitch fabric: {_shown(state)}")
    if facts.xids is None:
        yield _finding("xid", None, "the kernel's log cannot be read")
        return
    hard = [f"{number} of {pci}" for pci, number in facts.xids if number in _value("xid")]
    yield _finding("xid", not hard, f"Xid {', '.join(hard)}" if hard else "no hard Xid")


def _nics(facts: Facts, cluster: Cluster) -> Iterator[Finding]:
    network = cluster.network
    nics = [nic for nic in facts.nics if not network.hcas or nic.name in network.hcas]
    layer = LAYERS[network.kind]
    fabric = [nic for nic in nics if nic.link_layer == layer]
    says = f"{len(fabric)} ports of {network.nics_per_node} are {layer}"
    yield _finding("link_layer", len(fabric) >= network.nics_per_node, says)
    active = [nic for nic in fabric if nic.state == "ACTIVE"]
    says = f"{len(active)} of {network.nics_per_node} are active"
    down = ", ".join(nic.name for nic in fabric if nic.state != "ACTIVE")
    enough = len(active) >= network.nics_per_node
    yield _finding("nic_count", enough, says + (f"; not: {down}" if down else ""))
    for nic in active:
        yield from _one_nic(nic, network.nic_gb_per_s)


def _one_nic(nic: NicFacts, promised_gb_per_s: float | None) -> Iterator[Finding]:
    if promised_gb_per_s and nic.rate_gbit_per_s is not None:
        wanted = promised_gb_per_s * 8
        good = nic.rate_gbit_per_s >= wanted * _value("nic_rate_percent") / 100
        says = f"{nic.name}: {nic.rate_gbit_per_s:g} of {wanted:g} Gbit/s"
        yield _finding("nic_rate_percent", good, says)
    for check, count in (("link_downed", nic.link_downed), ("symbol_error", nic.symbol_error)):
        good_count = None if count is None else count <= _value(check)
        yield _finding(check, good_count, f"{nic.name}: {check} {_shown(count)}")


def _transfer(facts: Facts) -> Iterator[Finding]:
    says = "GPU memory for NICs" if facts.peer_memory else "no peer memory module; DMA-BUF, or slow"
    yield _finding("peer_memory", facts.peer_memory, says)
    locked = facts.locked_memory
    says = "unlimited" if locked < 0 else f"{locked} bytes: `ulimit -l unlimited`"
    yield _finding("locked_memory", locked < 0, f"locked memory {says}")


def _host(facts: Facts, checkpoint_bytes: int) -> Iterator[Finding]:
    files_ = facts.open_files
    enough = files_ < 0 or files_ >= _value("open_files")
    yield _finding("open_files", enough, f"{files_} open files")
    shared = facts.shared_memory_bytes
    good = None if shared is None else shared >= _value("shared_memory_bytes")
    yield _finding("shared_memory_bytes", good, f"bytes free in /dev/shm: {_shown(shared)}")
    for check in ("numa_balancing", "governor"):
        value = getattr(facts, check)
        yield _finding(check, None if value is None else value == _value(check), _shown(value))
    off = facts.clock_seconds
    on_time = None if off is None else off < _value("clock_seconds")
    yield _finding("clock_seconds", on_time, f"clock off by (s): {_shown(off)}")
    for folder, free in facts.free_bytes.items():
        needed = checkpoint_bytes * _value("disk_checkpoints")
        says = f"{folder}: {free / 2**30:.0f} GiB free, {needed / 2**30:.0f} GiB for checkpoints"
        yield _finding("disk_checkpoints", free >= needed, says)


def _shown(value: Any) -> str:
    return "not known" if value is None else str(value)
