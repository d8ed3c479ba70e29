"""A launch as one tar file, the same bytes for the same launch."""

import io
import tarfile
from dataclasses import asdict
from typing import Any

from llmtrain.launchers.launch import Launch


def archive(launch: Launch) -> bytes:
    """The run's folder as an uncompressed tar: names sorted, no times, no owners."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, text in sorted(launch.files.items()):
            data = text.encode()
            member = tarfile.TarInfo(f"{launch.name}/{name}")
            member.size = len(data)
            member.mode = 0o755 if name == launch.script else 0o644
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def as_json(launch: Launch) -> dict[str, Any]:
    """The launch with every file's content."""
    return {
        "name": launch.name,
        "nodes": launch.nodes,
        "ranks_per_node": launch.ranks_per_node,
        "script": launch.script,
        "command": list(launch.command),
        "commands": [{"where": c.where, "words": list(c.words)} for c in launch.commands],
        "mounts": [asdict(mount) for mount in launch.mounts],
        "later": [asdict(variable) for variable in launch.later],
        "notes": list(launch.notes),
        "missing": list(launch.missing),
        "warnings": list(launch.warnings),
        "files": dict(launch.files),
    }
