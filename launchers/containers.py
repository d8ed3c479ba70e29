"""What the ranks run in: the container's arguments, its mounts, and the names that must get inside.

pyxis lets the image's environment win over the job's unless a name is in ``--container-env``;
apptainer likewise unless it is in ``--env``. So every name is listed, and a probe checks.
"""

import re

from llmtrain.config.errors import LaunchError, Problem
from llmtrain.config.recipe import Recipe
from llmtrain.launchers.launch import Mount, Program, Variable
from llmtrain.launchers.provenance import Provenance

INSIDE = "/opt/llmtrain"
"""Where llmtrain lies in a container."""


def mounts(recipe: Recipe, program: Program, provenance: Provenance) -> tuple[Mount, ...]:
    """Everything that the container sees of the node; nothing without a container.

    Raises:
        LaunchError: if a path of the site cannot be written as a mount.
    """
    site = recipe.site
    if site.container.runtime == "none":
        return ()
    found = [_site_mount(text) for text in site.mounts]
    run = "$LLMTRAIN_RUN"
    found.append(Mount(host=run, inside=run, source="the run's folder"))
    if is_ours(program):
        host, inside = provenance.package, INSIDE + provenance.package_inside
        found.append(Mount(host=host, inside=inside, source="llmtrain itself", read_only=True))
    wanted = {"site.checkpoints": site.checkpoints, "data.cache": recipe.data.cache}
    wanted |= {f"data.paths[{n}]": _parent(path) for n, path in enumerate(recipe.data.paths)}
    held = recipe.data.validation.paths
    wanted |= {f"data.validation.paths[{n}]": _parent(path) for n, path in enumerate(held)}
    if provenance.program and provenance.program.is_here:
        place = provenance.program.path
        wanted["backend.path"] = _parent(place) if place.endswith(".py") else place
    for key, path in wanted.items():
        if path and path.startswith("/") and not _seen(path, found):
            found.append(Mount(host=path, inside=path, source=f"`{key}`"))
    _require_plain(found)
    return tuple(found)


def names(variables: tuple[Variable, ...], recipe: Recipe, program: Program) -> tuple[str, ...]:
    """Every variable that must get inside: the ranks' environment and what the job adds."""
    ours = {"LLMTRAIN_LIFE", "LLMTRAIN_PYTHON", "LLMTRAIN_RUN", "MASTER_ADDR", "MASTER_PORT"}
    if is_ours(program):
        ours.add("PYTHONPATH")
    return tuple(sorted({*(v.name for v in variables), *recipe.site.secrets.names, *ours}))


def is_ours(program: Program) -> bool:
    """Whether the ranks need llmtrain itself."""
    return (program.module or "").split(".")[0] == "llmtrain"


def checkout(recipe: Recipe, mounted: tuple[Mount, ...]) -> str:
    """Where the nodes find the backend's checkout, in words."""
    path = recipe.backend.path
    if path is None:
        return ""
    if recipe.site.container.runtime == "none":
        return f"{path} on every node"
    return f"{path} {'mounted' if _seen(path, list(mounted)) else 'in the image'}"


def by_digest(image: str) -> bool:
    """Whether the image is named by its digest, or is a file."""
    return bool(re.search(r"@sha256:[0-9a-f]{64}$", image)) or image.endswith((".sqsh", ".sif"))


def _site_mount(text: str) -> Mount:
    parts = text.split(":")
    if len(parts) not in (2, 3) or not all(parts) or parts[2:] not in ([], ["ro"], ["rw"]):
        says = f"{text!r} is no mount: host:container or host:container:ro"
        raise LaunchError(Problem(code="invalid_mount", key="site.mounts", says=says))
    return Mount(
        host=parts[0], inside=parts[1], source="`site.mounts`", read_only=parts[2:] == ["ro"]
    )


def _parent(path: str) -> str:
    return path.rpartition("/")[0]


def _seen(path: str, mounted: list[Mount]) -> bool:
    return any(f"{path}/".startswith(f"{each.inside.rstrip('/')}/") for each in mounted)


def _require_plain(mounted: list[Mount]) -> None:
    """Commas and colons part mounts; no runtime has a way to quote them."""
    for mount in mounted:
        for path in (mount.host, mount.inside):
            if re.search(r"[,:\n]", path):
                says = f"{path!r} cannot be mounted: a path with a comma, colon or newline"
                raise LaunchError(Problem(code="invalid_mount", key="site.mounts", says=says))
