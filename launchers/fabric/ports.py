"""InfiniBand ports of this machine, as NCCL_IB_HCA would name those that carry collectives."""

import re
from pathlib import Path

DEVICES = Path("/sys/class/infiniband")


def compute_ports(devices: Path = DEVICES) -> tuple[str, ...]:
    """Devices with an active InfiniBand port of the highest rate, in the order of their numbers.

    Storage and management ports are slower, are Ethernet, or are down. Source: the kernel's
    ``Documentation/ABI/stable/sysfs-class-infiniband``.
    """
    found = {path.name: _rate(path) for path in devices.glob("*") if _rate(path)}
    most = max(found.values(), default=0)
    return tuple(sorted((name for name in found if found[name] == most), key=_by_number))


def exact_list(names: tuple[str, ...]) -> str:
    """As NCCL_IB_HCA takes exact names."""
    return "=" + ",".join(names)


def _rate(device: Path) -> int:
    """Gbit/s of the fastest InfiniBand port that is active; 0: there is none."""
    rates = [0]
    for port in (device / "ports").glob("*"):
        layer, state = _read(port / "link_layer"), _read(port / "state")
        rate = re.match(r"\d+", _read(port / "rate"))
        if layer == "InfiniBand" and state.endswith("ACTIVE") and rate:
            rates.append(int(rate[0]))
    return max(rates)


def _by_number(name: str) -> tuple[str, int]:
    number = re.search(r"\d+$", name)
    return name.rstrip("0123456789"), int(number[0]) if number else -1


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError:
        return ""
