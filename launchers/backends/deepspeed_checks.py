"""What is wrong with a DeepSpeed JSON though DeepSpeed lets it pass, or finds it too late."""

from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from typing import Any

from llmtrain.config.yaml_reader import read_yaml
from llmtrain.launchers.mappings import inner

Config = Mapping[str, Any]


def oversights(config: Config, *, pp: int = 1) -> tuple[str, ...]:
    """A sentence for each mistake in the JSON ``config``, which will meet ``pp`` stages."""
    found = [says for check in CHECKS for says in check(config)]
    return (*found, *_pipeline(config, pp))


def _names(config: Config) -> Iterator[str]:
    for key in config:
        if key not in _data()["keys"]:
            close = get_close_matches(key, _data()["keys"], n=1)
            meant = f", did you mean `{close[0]}`?" if close else ""
            yield f"`{key}` is passed over: DeepSpeed has no such key{meant}"


def _clipping(config: Config) -> Iterator[str]:
    value = config.get("gradient_clipping", 0.0)
    if isinstance(value, bool) or not isinstance(value, int | float):
        yield f"`gradient_clipping` is {value!r}, not a number: it fails at the first step"


def _optimizer(config: Config) -> Iterator[str]:
    name = inner(config, "optimizer").get("type")
    if not isinstance(name, str) or name.lower() in _data()["optimizers"]:
        return
    if name not in _data()["torch_optimizers"]:
        yield f"`optimizer.type` = {name} is neither DeepSpeed's nor a class of torch.optim"


def _offload(config: Config) -> Iterator[str]:
    stage = _stage(config)
    zero = inner(config, "zero_optimization")
    if _device(zero, "offload_param") and stage < 3:
        yield f"`zero_optimization.offload_param` is passed over at stage {stage}: it needs 3"
    if _device(zero, "offload_optimizer") and stage < 1:
        yield "`zero_optimization.offload_optimizer` is passed over at stage 0: it needs 1"


def _precision(config: Config) -> Iterator[str]:
    if all(inner(config, kind).get("enabled") for kind in ("fp16", "bf16")):
        yield "`fp16` and `bf16` are both on"


def _pipeline(config: Config, pp: int) -> Iterator[str]:
    """Source: ``runtime/pipe/engine.py`` asserts the first; the second is its BF16 optimizer."""
    stage = _stage(config)
    if pp > 1 and stage > 1:
        yield f"ZeRO stage {stage} with a pipeline of {pp} stages: it is asserted to be 0 or 1"
    sums = inner(config, "data_types").get("grad_accum_dtype")
    if pp > 1 and inner(config, "bf16").get("enabled") and sums not in (None, "fp32"):
        yield f"micro-batches of a bf16 pipeline are summed in {sums}: fp32 is safe"


CHECKS: tuple[Callable[[Config], Iterator[str]], ...] = (
    _names,
    _clipping,
    _optimizer,
    _offload,
    _precision,
)
"""Those of the JSON by itself."""


def _stage(config: Config) -> int:
    stage = inner(config, "zero_optimization").get("stage", 0)
    return stage if isinstance(stage, int) else 0


def _device(zero: Config, name: str) -> bool:
    return str(inner(zero, name).get("device", "none")) != "none"


@cache
def _data() -> Mapping[str, Any]:
    path = files("llmtrain.launchers.backends") / "deepspeed_keys.yaml"
    found: Mapping[str, Any] = read_yaml(path.read_text(encoding="utf-8"))
    return found
