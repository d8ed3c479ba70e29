"""Arguments of the Megatrons, and DeepSpeed's JSON, to numbers and optimizer."""

from collections.abc import Mapping
from typing import Any

from llmtrain.launchers.importing.engine_keys import loss_scale, offloads
from llmtrain.launchers.importing.reading import Keys, Reading
from llmtrain.launchers.mappings import inner, number


def precision_keys(r: Reading, config: Mapping[str, Any]) -> Keys:
    """``precision.*``; DeepSpeed's JSON decides where there is one."""
    fp16, bf16 = _engine_numbers(r, config)
    fp8 = r.get("--fp8-format") or ("hybrid" if r.get("--fp8-hybrid") else None)
    keys: Keys = {"kind": "fp8" if fp8 else "bf16" if bf16 else "fp16" if fp16 else "fp32"}
    if fp8:
        keys["fp8"] = {
            "recipe": r.get("--fp8-recipe") or "delayed",
            "format": fp8,
            "param_gather": bool(r.get("--fp8-param-gather")),
            "bf16_ends": bool(r.get("--first-last-layers-bf16")),
        }
        r.has("--fp8-amax-history-len", "--fp8-amax-compute-algo")
    scale, first = r.get("--loss-scale"), r.get("--initial-loss-scale")
    window = r.get("--loss-scale-window")
    if fp16 and (of_engine := loss_scale(config)):
        keys |= of_engine
    elif fp16 and scale:
        keys["loss_scale"] = float(scale)
    elif fp16:
        keys |= {"initial_loss_scale": first, "loss_scale_window": int(window or 1000)}
    return keys


def _engine_numbers(r: Reading, config: Mapping[str, Any]) -> tuple[bool, bool]:
    given = (bool(r.get("--fp16")), bool(r.get("--bf16")))
    told = tuple(bool(inner(config, name).get("enabled")) for name in ("fp16", "bf16"))
    if config and any(told) and told != given:
        flag = "--fp16" if given[0] else "--bf16"
        r.note(flag, "DeepSpeed's JSON says otherwise, and wins")
        return told[0], told[1]
    return given


def optim_keys(r: Reading, config: Mapping[str, Any], precision: str) -> Keys:
    """``optim.*``."""
    name = str(r.get("--optimizer") or "adam")
    if name not in ("adam", "adamw"):
        r.note("--optimizer", "recipes have Adam alone")
    keys: Keys = {
        "name": "adam",
        "lr": r.get("--lr"),
        "min_lr": r.get("--min-lr") or 0.0,
        "beta1": r.get("--adam-beta1"),
        "beta2": r.get("--adam-beta2"),
        "eps": r.get("--adam-eps"),
        "weight_decay": r.get("--weight-decay"),
        "clip": r.get("--clip-grad"),
        "zero": _zero(r, config),
        "overlap_grad_reduce": bool(r.get("--overlap-grad-reduce")),
        "overlap_param_gather": bool(r.get("--overlap-param-gather")),
        "offload": bool(r.get("--optimizer-cpu-offload") or r.get("--cpu-optimizer"))
        or offloads(config),
        "grad_dtype": _gradients(r, config, precision),
    }
    r.has("--use-precision-aware-optimizer") if keys["offload"] else None
    overlap = inner(config, "zero_optimization").get("overlap_comm")
    if overlap is not None:
        keys["overlap_grad_reduce"] = bool(overlap)
    return {key: value for key, value in keys.items() if value is not None}


def _zero(r: Reading, config: Mapping[str, Any]) -> int:
    told = number(inner(config, "zero_optimization"), "stage")
    stage = r.get("--zero-stage") if r.table.program == "megatron-deepspeed" else None
    if told is not None:
        if stage is not None and r.words("--zero-stage") and int(told) != stage:
            r.note("--zero-stage", f"DeepSpeed's JSON says {told}, and wins")
        return int(told)
    if r.table.program == "megatron-deepspeed":
        return int(stage or 0) if r.words("--zero-stage") else 0
    shards = r.get("--use-torch-fsdp2") or r.get("--use-megatron-fsdp")
    if shards:
        strategy = r.get("--data-parallel-sharding-strategy") or "optim_grads_params"
        named = {"no_shard": 0, "optim": 1, "optim_grads": 2, "optim_grads_params": 3}
        return named.get(str(strategy), 3)
    return 1 if r.get("--use-distributed-optimizer") else 0


def _gradients(r: Reading, config: Mapping[str, Any], precision: str) -> str:
    """fp32 sums; Megatron-LM turns them on by itself for bf16 (``validate_args``)."""
    told = inner(config, "data_types").get("grad_accum_dtype")
    in_fp32, in_bf16 = (
        r.get("--accumulate-allreduce-grads-in-fp32"),
        r.get("--grad-reduce-in-bf16"),
    )
    if told is not None:
        return "fp32" if told == "fp32" else "weights"
    if precision == "fp32" or in_fp32 or (precision in ("bf16", "fp8") and not in_bf16):
        return "fp32"
    return "weights"
