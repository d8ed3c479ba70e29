"""Initial weights that depend on the seed and the name of a parameter, never on the layout.

Every rank makes the full matrix of each of its parameters and keeps its part. Conventions are
Megatron's: normal numbers of ``init_std``, scaled by 1 / sqrt(2 x layers) where a layer adds to the
residual stream (arXiv 1909.08053, section 3); norms are one and biases zero.
"""

import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from megatron.core.models.gpt import GPTModel

from llmtrain.config.recipe import Recipe
from llmtrain.trainer.groups import Position

RESIDUAL = ("linear_proj.weight", "linear_fc2.weight")
"""Matrices whose product is added to the residual stream."""

VOCABULARY = ("embedding.word_embeddings.weight", "output_layer.weight")
"""Matrices with a row for every token."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cut:
    """Which part of a full tensor a rank holds."""

    dim: int | None
    """The dimension that is cut; None: the tensor is whole on every rank."""
    rank: int
    """This rank's number among the parts."""
    parts: int
    """Tensor parallel ranks, of an expert expert tensor parallel ones."""
    blocks: int = 1
    """Blocks along ``dim`` that are each cut: 2 for gate and up of a gated feed-forward."""
    vocabulary: bool = False
    """Its rows are tokens, of which the last are padding."""

    def full_shape(self, part: torch.Size) -> list[int]:
        """Shape of the full tensor whose parts have the shape ``part``."""
        shape = list(part)
        if self.dim is not None:
            shape[self.dim] *= self.parts
        return shape

    def take(self, full: torch.Tensor) -> torch.Tensor:
        """This rank's part of ``full``."""
        if self.dim is None:
            return full
        blocks = full.chunk(self.blocks, self.dim)
        return torch.cat(
            [block.chunk(self.parts, self.dim)[self.rank] for block in blocks], self.dim
        )


Names = Mapping[str, str]
"""Each parameter's name in its module -> its name in the whole model."""


@torch.no_grad()
def fill(module: torch.nn.Module, names: Names, recipe: Recipe, position: Position) -> None:
    """Set every parameter of ``module`` in place."""
    for local_name, param in module.named_parameters():
        set_one(param, names[local_name], recipe, position)


@torch.no_grad()
def set_one(param: torch.Tensor, name: str, recipe: Recipe, position: Position) -> None:
    """Set the parameter that the whole model calls ``name``, in place."""
    cut = cut_of(name, param, recipe, position)
    param.copy_(cut.take(full_tensor(name, cut.full_shape(param.shape), recipe)))


def cuts(
    module: torch.nn.Module, names: Names, recipe: Recipe, position: Position
) -> dict[str, Cut]:
    """How each parameter of ``module`` is cut, by its name there."""
    return {
        name: cut_of(names[name], param, recipe, position)
        for name, param in module.named_parameters()
    }


def global_names(chunk: GPTModel, recipe: Recipe, position: Position) -> dict[str, str]:
    """The names of a chunk's parameters in the whole model."""
    first = first_expert(recipe, position)
    return {name: global_name(chunk, name, first) for name, _ in chunk.named_parameters()}


def first_expert(recipe: Recipe, position: Position) -> int:
    """The number, in the whole layer, of the first expert that a rank holds."""
    return position.ep * ((recipe.model.experts or 0) // position.ep_size)


EXPERT = re.compile(r"\.experts\.(?:local_experts\.(\d+)\.)?(linear_fc\d\.(?:weight|bias))(\d*)$")
"""A matrix of an expert; its number on the rank stands in the middle, in Transformer Engine's
grouped layer at the end."""


def global_name(chunk: GPTModel, name: str, first_expert: int) -> str:
    """The name with the numbers of layer and expert in the whole model.

    A tied output is the embedding.
    """
    if name == "output_layer.weight" and chunk.share_embeddings_and_output_weights:
        return "embedding.word_embeddings.weight"
    name = expert_name(name, first_expert)
    head, found, tail = name.partition("decoder.layers.")
    if not found:
        return name
    index, rest = tail.split(".", 1)
    layer = chunk.decoder.layers[int(index)].layer_number - 1
    return f"{head}decoder.layers.{layer}.{rest}"


def expert_name(name: str, first: int) -> str:
    """The name with the number of the expert in the whole layer, if it is an expert's."""
    expert = EXPERT.search(name)
    if not expert:
        return name
    number = first + int(expert[1] or expert[3])
    return f"{name[: expert.start()]}.experts.{number}.{expert[2]}"


def cut_of(name: str, param: torch.Tensor, recipe: Recipe, position: Position) -> Cut:
    """How ``param`` is cut over the tensor parallel ranks.

    Query, key and value need no blocks: megatron-core lays them out by group of heads, so equal
    parts of the rows are whole groups.
    """
    if ".experts." in name:
        return _expert_cut(name, recipe, position)
    parallel = getattr(param, "tensor_model_parallel", False)
    gated = "linear_fc1" in name and recipe.model.gated
    return Cut(
        dim=getattr(param, "partition_dim", None) if parallel else None,
        rank=position.tp,
        parts=position.tp_size,
        blocks=2 if gated else 1,
        vocabulary=name in VOCABULARY,
    )


def _expert_cut(name: str, recipe: Recipe, position: Position) -> Cut:
    """The first matrix and its bias are cut by output, the second matrix by input.

    By name, since a grouped layer does not mark its parameters.
    """
    first = "linear_fc1" in name
    dim = None if name.endswith("linear_fc2.bias") else 1 - first
    blocks = 2 if first and recipe.model.gated else 1
    return Cut(dim=dim, rank=position.etp, parts=position.etp_size, blocks=blocks)


def full_tensor(name: str, shape: list[int], recipe: Recipe) -> torch.Tensor:
    """The initial value of the whole parameter ``name``, padded vocabulary included as zeros."""
    if name.endswith("bias"):
        return torch.zeros(shape)
    if len(shape) == 1:
        # LayerNorm1p stores the distance from 1.
        return torch.zeros(shape) if recipe.model.norm == "layernorm1p" else torch.ones(shape)
    real = list(shape)
    if name in VOCABULARY:
        real[0] = recipe.model.vocab
    full = torch.zeros(shape)
    full[: real[0]].normal_(
        0.0, deviation(name, recipe), generator=generator(recipe.run.seed, name)
    )
    return full


def deviation(name: str, recipe: Recipe) -> float:
    """Standard deviation of the initial values of a matrix."""
    std = recipe.model.init_std
    return std / math.sqrt(2 * recipe.model.layers) if name.endswith(RESIDUAL) else std


def generator(seed: int, name: str) -> torch.Generator:
    """Random numbers that only ``seed`` and ``name`` decide."""
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big", signed=True))
