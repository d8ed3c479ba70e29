"""Where a launch was prepared: code, packages, interpreter. The only look at the machine."""

import os
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import llmtrain

PACKAGES = ("torch", "megatron-core", "deepspeed", "numpy", "hydra-core", "omegaconf")
"""Packages whose versions change what a run computes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Provenance:
    """What was there when the launch was prepared."""

    python: str
    """The interpreter that starts the ranks."""
    package: str = ""
    """The folder that a container must see for llmtrain to be there."""
    package_inside: str = ""
    """What is appended to the place of that folder in a container: it is the package itself, or
    the checkout around it."""
    packages: dict[str, str | None]
    """Versions; None: not installed."""
    commit: str | None = None
    """Git commit of the working directory; None: it is no checkout."""
    diff: str = ""
    """What differs from that commit."""

    def as_json(self) -> dict[str, Any]:
        """The content of provenance.json, but for the container's image, which the site names."""
        return {
            "llmtrain": llmtrain.__version__,
            "python": sys.version.split()[0],
            "packages": self.packages,
            "git": {"commit": self.commit, "diff": self.diff},
        }


def provenance(folder: Path | None = None) -> Provenance:
    """Read it from this machine; ``folder`` is the checkout, the working directory by default."""
    where = folder or Path.cwd()
    own = Path(llmtrain.__file__).parent
    # In a checkout the package holds links to the folders beside it.
    package = own.parent if (own / "config").is_symlink() else own
    return Provenance(
        python=sys.executable,
        package=str(package),
        package_inside="" if package != own else "/llmtrain",
        packages={name: _version(name) for name in PACKAGES},
        commit=_git(where, "rev-parse", "HEAD") or None,
        diff=_git(where, "diff", "--no-color", "--no-ext-diff", "HEAD"),
    )


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _git(where: Path, *arguments: str) -> str:
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    try:
        done = subprocess.run(
            ["git", "-C", str(where), *arguments],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=20,
            env=environment,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip("\n") if done.returncode == 0 else ""
