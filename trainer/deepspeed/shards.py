"""ZeRO-3's weights, cut over the replicas as they are made: no rank ever holds the whole model."""

from collections.abc import Iterator
from typing import Any

import deepspeed
import torch
from megatron.core import parallel_state

from llmtrain.config.recipe import Recipe
from llmtrain.trainer import model, weights
from llmtrain.trainer.deepspeed import experts
from llmtrain.trainer.deepspeed.groups import Groups
from llmtrain.trainer.device import Device
from llmtrain.trainer.groups import Position
from llmtrain.trainer.megatron_config import weight_dtype


def build(
    recipe: Recipe, position: Position, device: Device, config: dict[str, Any]
) -> tuple[model.Gpt, weights.Names]:
    """The model of a rank without stages, its weights set and cut; ``config`` is DeepSpeed's.

    Its parameters get memory one after the other, and each is cut before the next. Within
    ``deepspeed.zero.Init`` every tensor of the model would take the numbers of the weights, the
    frequencies of rotary positions too.
    """
    part = model.outline(recipe, position, device)
    names = weights.global_names(part, recipe, position)
    experts.mark(part, 3)
    made = _made(part, names, recipe, position, device)
    first: Any = torch.nn.Module()
    first.weight = next(made)
    deepspeed.zero.Init(
        module=first,
        data_parallel_group=parallel_state.get_data_parallel_group(),
        dtype=weight_dtype(recipe),
        config_dict_or_path=config,
        mpu=Groups(),
    )
    first.weight.convert_to_zero_parameters(param_list=made)
    return part.to(device.torch), names


def _made(
    part: model.Gpt, names: weights.Names, recipe: Recipe, position: Position, device: Device
) -> Iterator[torch.nn.Parameter]:
    """Every parameter, set when it is asked for."""
    known: dict[torch.nn.Parameter, torch.nn.Parameter] = {}
    for path, module in part.named_modules():
        outlined = dict(module.named_parameters(recurse=False))
        if device.transformer_engine and hasattr(module, "reset_parameters"):
            module.reset_parameters()
        for name, param in outlined.items():
            if param in known:
                setattr(module, name, known[param])
                continue
            made = known[param] = _real(getattr(module, name), param, recipe, device)
            setattr(module, name, made)
            weights.set_one(made, names[f"{path}.{name}"], recipe, position)
            yield made


def _real(
    param: torch.nn.Parameter, outlined: torch.nn.Parameter, recipe: Recipe, device: Device
) -> torch.nn.Parameter:
    """``param`` with memory, in the numbers of all weights, with the marks of the outlined one."""
    dtype = weight_dtype(recipe)
    if param.is_meta:
        param = torch.nn.Parameter(torch.empty_like(param, dtype=dtype, device=device.torch))
    param.data = param.data.to(dtype)
    for mark, value in vars(outlined).items():
        if not hasattr(param, mark):
            setattr(param, mark, value)
    return param
