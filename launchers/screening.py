"""What a job takes along to look at its nodes: the modules of ``preflight/`` and what to expect."""

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from llmtrain.config.place import Cluster
from llmtrain.config.recipe import Recipe
from llmtrain.config.yaml_reader import read_yaml
from llmtrain.launchers.preflight.promise import Limits, Promise
from llmtrain.planner.checkpoints import checkpoint_bytes
from llmtrain.planner.plan import Plan

PACKAGE = "llmtrain.launchers.preflight"


@cache
def limits() -> Limits:
    """limits.yaml."""
    text = files(PACKAGE).joinpath("limits.yaml").read_text(encoding="utf-8")
    found: Mapping[str, Mapping[str, Any]] = read_yaml(text)
    return found


def promise_of(
    cluster: Cluster | None, *, gpus: int | None = None, room: Mapping[str, tuple[str, int]]
) -> Promise:
    """What ``cluster`` promises of a node; ``gpus``: fewer than it has."""
    if cluster is None:
        return Promise(
            device=None,
            gpus=0,
            gpu_name="",
            gpu_arch="",
            gpu_memory_bytes=None,
            nvlink=False,
            network="loopback",
            nics=0,
            nic_gbit_per_s=None,
            bus_node_gb_per_s=None,
            bus_gb_per_s=None,
            hcas=(),
            room=room,
            limits=limits(),
        )
    network = cluster.network
    return Promise(
        device=cluster.device,
        gpus=gpus or cluster.gpus_per_node,
        gpu_name=cluster.gpu.name,
        gpu_arch=cluster.gpu.arch,
        gpu_memory_bytes=cluster.gpu.memory_bytes,
        nvlink=bool(network.nvlink_gb_per_s),
        network=network.kind,
        nics=network.nics_per_node,
        nic_gbit_per_s=network.nic_gb_per_s and network.nic_gb_per_s * 8,
        bus_node_gb_per_s=network.bus_node_gb_per_s,
        bus_gb_per_s=network.bus_gb_per_s,
        hcas=network.hcas,
        room=room,
        limits=limits(),
    )


def room_for(recipe: Recipe | None, checkpoints: str) -> dict[str, tuple[str, int]]:
    """Folders that must have room on a node: checks of their disks, and bytes."""
    size = (checkpoint_bytes(recipe) or 0) if recipe else 0
    found = {checkpoints: ("disk_checkpoints", size * limits()["disk_checkpoints"]["value"])}
    if recipe and recipe.site.nvme:
        found[recipe.site.nvme] = ("disk_nvme", limits()["disk_nvme"]["value"])
    return found


def is_watched(recipe: Recipe, nodes: int) -> bool:
    """Whether the job reads in NCCL's log how its ranks send, and ends where that is wrong."""
    if recipe.site.preflight.policy == "off" or nodes == 1 or recipe.cluster.device != "cuda":
        return False
    own_file = "NCCL_DEBUG_FILE" in {**recipe.site.env, **recipe.env}
    return recipe.cluster.network.kind in limits()["transport"]["value"] and not own_file


def preflight_files(plan: Plan) -> dict[str, str]:
    """By name in the run's folder; none where nobody looks."""
    recipe, asked = plan.recipe, plan.recipe.site.preflight
    if asked.policy == "off":
        return {}
    room = room_for(recipe, recipe.site.checkpoints or "checkpoints")
    promise = promise_of(recipe.cluster, gpus=plan.ranks_per_node, room=room)
    if plan.nodes == 1:
        promise = promise._replace(network="loopback")
    content = {
        "policy": asked.policy,
        "depth": asked.depth,
        "seconds": asked.seconds,
        "promise": promise._asdict(),
    }
    modules = {
        f"preflight/{each.name}": each.read_text(encoding="utf-8")
        for each in files(PACKAGE).iterdir()
        if each.name.endswith(".py")
    }
    if asked.depth != "read":
        burn = files("llmtrain.trainer").joinpath("burn.py").read_text(encoding="utf-8")
        modules["preflight/burn.py"] = burn
    return {**modules, "preflight/promise.json": json.dumps(content, indent=2) + "\n"}
