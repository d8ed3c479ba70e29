"""Bytes in words, for every command alike: memory in powers of two, disks and networks in tens."""

MEMORY = (("GiB", 2.0**30), ("MiB", 2.0**20))
STORAGE = (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3))


def memory_text(count: float) -> str:
    """Of a GPU's or a host's memory: ``1.5 GiB``, ``31 MiB``."""
    name, unit = next((each for each in MEMORY if count >= each[1]), MEMORY[-1])
    return f"{count / unit:.{1 if name == 'GiB' else 0}f} {name}"


def storage_text(count: float) -> str:
    """Of files and messages: ``7.4 TB``, ``129 MB``."""
    name, unit = next((each for each in STORAGE if count >= each[1]), ("bytes", 1.0))
    return f"{short(count / unit)} {name}"


def short(value: float) -> str:
    """Three figures, and all of those before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
