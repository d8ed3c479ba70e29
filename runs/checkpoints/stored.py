"""What a checkpoint says of itself, the same for every format."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from llmtrain.runs.checkpoints.pickles import Named

Format = Literal["torch_dist", "megatron", "deepspeed", "universal"]
"""torch_dist: megatron-core's, by the place in the whole model; megatron: Megatron-LM's own
``torch`` format, a file a model parallel rank; deepspeed: files of each rank; universal: one folder
a parameter."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stored:
    """One checkpoint. What it does not say is absent or None."""

    path: Path
    """Its folder."""
    format: Format
    """Who wrote it so."""
    step: int | None = None
    """Optimizer steps behind it."""
    layout: Mapping[str, int] = field(default_factory=dict)
    """tp, pp, vpp, cp, ep, etp, dp, and zero, the stage of ZeRO."""
    sizes: Mapping[str, int] = field(default_factory=dict)
    """Sizes of the model by recipe key (layers, hidden, heads, …); ``vocab`` is padded."""
    dtype: str | None = None
    """Numbers of the weights, as torch calls them."""
    optimizer: str | None = None
    """How the distributed optimizer cut its state (``distrib_optim_sharding_type``)."""
    files: int = 0
    """Files that belong to it."""
    damage: str | None = None
    """Why it cannot be read; None: as far as its own metadata says, it is whole."""

    @property
    def whole(self) -> bool:
        """Whether nothing is known to be wrong with it."""
        return self.damage is None

    def as_json(self) -> dict[str, Any]:
        """The same for ``--json``."""
        return {
            "path": str(self.path),
            "format": self.format,
            "step": self.step,
            "layout": dict(self.layout),
            "sizes": dict(self.sizes),
            "dtype": self.dtype,
            "optimizer": self.optimizer,
            "files": self.files,
            "damage": self.damage,
        }


LAYOUT = {
    "tp": "tensor_model_parallel_size",
    "pp": "pipeline_model_parallel_size",
    "vpp": "virtual_pipeline_model_parallel_size",
    "cp": "context_parallel_size",
    "ep": "expert_model_parallel_size",
    "etp": "expert_tensor_parallel_size",
    "dp": "data_parallel_size",
}
"""Degrees in the arguments that Megatron's programs store with a checkpoint."""
SIZES = {
    "layers": "num_layers",
    "hidden": "hidden_size",
    "heads": "num_attention_heads",
    "ffn": "ffn_hidden_size",
    "experts": "num_experts",
    "vocab": "padded_vocab_size",
}
"""Sizes of the model there."""


def from_arguments(arguments: Any) -> tuple[dict[str, int], dict[str, int], str | None]:
    """Layout, sizes and numbers by the arguments of a Megatron program; empty if there are none."""
    if not isinstance(arguments, Named):
        return {}, {}, None
    layout = dict(_numbers(LAYOUT, arguments.get))
    layout |= {"vpp": 1} if "vpp" not in layout and layout else {}
    zero = arguments.get("zero_stage")
    if isinstance(zero, int):
        layout["zero"] = zero
    elif isinstance(arguments.get("use_distributed_optimizer"), bool):
        layout["zero"] = int(arguments.get("use_distributed_optimizer"))
    dtype = getattr(arguments.get("params_dtype"), "named", None)
    return layout, _sizes(arguments), _short(dtype)


def _sizes(arguments: Named) -> dict[str, int]:
    found = dict(_numbers(SIZES, arguments.get))
    # Megatron-DeepSpeed keeps a list, [1] where there are no experts.
    experts = arguments.get("num_experts")
    if isinstance(experts, list | tuple) and any(isinstance(e, int) and e > 1 for e in experts):
        found["experts"] = max(experts)
    if arguments.get("group_query_attention") and arguments.get("num_query_groups"):
        found["kv_heads"] = int(arguments.get("num_query_groups"))
    elif isinstance(arguments.get("num_key_value_heads"), int):
        found["kv_heads"] = int(arguments.get("num_key_value_heads"))
    if arguments.get("add_position_embedding") and arguments.get("max_position_embeddings"):
        found["seq"] = int(arguments.get("max_position_embeddings"))
    return found


def _numbers(names: Mapping[str, str], value: Callable[[str], Any]) -> Iterator[tuple[str, int]]:
    for ours, theirs in names.items():
        number = value(theirs)
        if isinstance(number, int) and not isinstance(number, bool):
            yield ours, number


def _short(dtype: str | None) -> str | None:
    return dtype.rpartition(".")[2] if dtype else None
