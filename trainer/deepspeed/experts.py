"""megatron-core's experts, made known to DeepSpeed as it knows those of its own layers.

Both mark an expert's parameter by ``allreduce = False``: it is not reduced over all replicas but
over those with the same experts. DeepSpeed 0.19.8 asks for more: a name of these replicas
(``deepspeed/utils/groups.py``), with ZeRO 0 to 2 a module of its class ``MoE`` and groups of
parameters marked ``moe``, with ZeRO-3 what ``runtime/zero/stage3.py`` reads off each parameter.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from deepspeed.moe.layer import MoE
from deepspeed.moe.utils import is_moe_param
from deepspeed.utils import groups
from megatron.core import parallel_state

EXPERT = re.compile(r"(.*\.experts\.)\d+(\..*)")
"""The name of an expert's parameter in the whole model."""

STAND_IN = "deepspeed_experts"
"""Where the module of DeepSpeed's class is while DeepSpeed looks."""


def group_name() -> str:
    """What DeepSpeed calls the ranks that hold the same experts."""
    return f"ep_size_{parallel_state.get_expert_model_parallel_world_size()}"


class StandIn(MoE):
    """Holds nothing: by its class alone DeepSpeed sees that a model has experts."""

    def __init__(self) -> None:
        """As a plain module."""
        torch.nn.Module.__init__(self)
        self.num_experts = 0

    def set_deepspeed_parallelism(self, use_data_before_expert_parallel_: bool = False) -> None:
        """The groups are there."""


def mark(module: torch.nn.Module, zero: int) -> bool:
    """Mark the experts of ``module`` for DeepSpeed, if ranks have different; whether they have."""
    experts = own(module).values()
    if not experts:
        return False
    name, replicas = group_name(), parallel_state.get_expert_data_parallel_group()
    groups._EXPERT_PARALLEL_GROUP[name] = parallel_state.get_expert_model_parallel_group()
    groups._EXPERT_DATA_PARALLEL_GROUP[name] = replicas
    marks: dict[str, Any] = {"group_name": name}
    if zero == 3:
        marks["ds_zero_placement_family"] = "autoep_expert"
        marks["ds_zero_partition_group_name"] = name
        marks["ds_zero_partition_process_group"] = replicas
    for param in experts:
        vars(param).update(marks)
    return True


@contextmanager
def known(module: torch.nn.Module, zero: int) -> Iterator[None]:
    """Within, ``deepspeed.initialize`` finds the experts of ``module``."""
    stands_in = mark(module, zero) and zero < 3
    if stands_in:
        module.add_module(STAND_IN, StandIn())
    yield
    if stands_in:
        delattr(module, STAND_IN)


@contextmanager
def hidden(engine: Any) -> Iterator[None]:
    """Within, ``engine`` saves and loads as if there were none.

    Its files of experts are by the names of its own layers; those of ZeRO's states hold them
    anyway, each rank's own.
    """
    has, engine.has_moe_layers = engine.has_moe_layers, False
    yield
    engine.has_moe_layers = has


def called(names: Mapping[str, str]) -> dict[str, str]:
    """What DeepSpeed is to call each parameter: an expert by its number in the whole model.

    So universal checkpoints, which go by name, can be read with other expert parallel ranks.
    """
    return {local: whole if EXPERT.fullmatch(whole) else local for local, whole in names.items()}


def rename(engine: Any, names: Mapping[str, str]) -> None:
    """Let ``engine`` use these ``names`` of its module's parameters in its checkpoints."""
    for local, param in engine.module.named_parameters():
        engine.param_names[param] = names[local]
    if hasattr(engine.optimizer, "_param_slice_mappings"):
        engine.optimizer._param_slice_mappings = engine.optimizer._create_param_mapping()


def of_every_rank(files: Mapping[str, Any], count: int) -> None:
    """Add to the shapes of parameters in this rank's ``files`` those of all ``count`` experts.

    ``ds_to_universal`` reads shapes from the first replica's file alone.
    """
    for shapes in (group for held in files.values() for group in held.get("param_shapes") or ()):
        for name, shape in list(shapes.items()):
            expert = EXPERT.fullmatch(name)
            if expert:
                shapes.update({f"{expert[1]}{number}{expert[2]}": shape for number in range(count)})


def own(module: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    """The experts that other ranks have not, by name."""
    return {name: param for name, param in module.named_parameters() if is_moe_param(param)}


def file_name() -> str:
    """Of what is kept of this rank's experts without ZeRO."""
    tp = parallel_state.get_tensor_model_parallel_rank()
    pp = parallel_state.get_pipeline_model_parallel_rank()
    ep = parallel_state.get_expert_model_parallel_rank()
    return f"experts_{ep:03d}_mp_rank_{tp:02d}_{pp:03d}.pt"


def leads() -> bool:
    """Whether this rank is the first of those that hold the same experts."""
    return dist.get_rank(parallel_state.get_expert_data_parallel_group()) == 0


def state(module: torch.nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Weights and moments of this rank's experts, by name."""
    return {
        name: {"weight": param.data, **optimizer.state[param]}
        for name, param in own(module).items()
    }


@torch.no_grad()
def put_back(
    module: torch.nn.Module, optimizer: torch.optim.Optimizer, held: dict[str, Any]
) -> None:
    """What :func:`state` gave."""
    for name, param in own(module).items():
        moments = dict(held[name])
        param.copy_(moments.pop("weight"))
        optimizer.state[param] = moments
