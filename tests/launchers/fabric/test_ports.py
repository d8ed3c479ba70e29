"""Ports that carry collectives, told from the others by what the kernel says of them."""

from pathlib import Path

from llmtrain.launchers.fabric.ports import compute_ports, exact_list


def port(devices: Path, name: str, layer: str, state: str, rate: str) -> None:
    """A device with one port, as in /sys/class/infiniband."""
    folder = devices / name / "ports" / "1"
    folder.mkdir(parents=True)
    for file, text in (("link_layer", layer), ("state", state), ("rate", rate)):
        (folder / file).write_text(f"{text}\n")


def test_only_active_infiniband_of_the_highest_rate(tmp_path: Path) -> None:
    """A DGX H100: eight ports of NDR, storage on Ethernet, one port down, one slow."""
    for number in (0, 3, 4, 5, 6, 9, 10, 11):
        port(tmp_path, f"mlx5_{number}", "InfiniBand", "4: ACTIVE", "400 Gb/sec (4X NDR)")
    port(tmp_path, "mlx5_1", "Ethernet", "4: ACTIVE", "400 Gb/sec (4X NDR)")
    port(tmp_path, "mlx5_2", "InfiniBand", "1: DOWN", "400 Gb/sec (4X NDR)")
    port(tmp_path, "mlx5_7", "InfiniBand", "4: ACTIVE", "100 Gb/sec (4X EDR)")

    found = compute_ports(tmp_path)
    assert exact_list(found) == ("=mlx5_0,mlx5_3,mlx5_4,mlx5_5,mlx5_6,mlx5_9,mlx5_10,mlx5_11")


def test_a_machine_without_any(tmp_path: Path) -> None:
    """Nothing is invented."""
    port(tmp_path, "mlx5_0", "Ethernet", "4: ACTIVE", "100 Gb/sec (4X EDR)")

    assert compute_ports(tmp_path) == ()
    assert compute_ports(tmp_path / "none") == ()
