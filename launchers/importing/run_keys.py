"""Arguments of the Megatrons to layout, batch, numbers, optimizer and data."""

import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from llmtrain.launchers.importing.engine_keys import loss_scale, offloads
from llmtrain.launchers.importing.reading import Reading
from llmtrain.launchers.mappings import inner

Keys = dict[str, Any]

UNITS: Mapping[str, int] = {"": 1, "K": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}


def layout_keys(r: Reading, layers: int | None) -> Keys:
    """``parallel.*``."""
    tp = r.get("--tensor-model-parallel-size") or 1
    pp = r.get("--pipeline-model-parallel-size") or 1
    etp = r.get("--expert-tensor-parallel-size")
    keys: Keys = {
        "tp": tp,
        "pp": pp,
        "vpp": _virtual(r, pp, layers),
        "cp": r.get("--context-parallel-size") or 1,
        "ep": r.get("--expert-model-parallel-size") or 1,
        "etp": None if etp in (None, tp) else etp,
        "sequence": bool(r.get("--sequence-parallel")) and tp > 1,
        "order": "tp-cp-ep-pp-dp" if r.get("--use-tp-pp-dp-mapping") else "tp-cp-ep-dp-pp",
        "account_for_embedding": bool(r.get("--account-for-embedding-in-pipeline-split")),
        "account_for_loss": bool(r.get("--account-for-loss-in-pipeline-split")),
    }
    if "embedding" in str(r.get("--pp-partition-method") or ""):
        # BigScience's fork: both ends weigh as much as a layer.
        keys |= {"account_for_embedding": True, "account_for_loss": True}
    if r.get("--no-pipeline-parallel") and pp > 1:
        keys["pp"] = 1
    return keys | _split(r, pp, layers)


def _virtual(r: Reading, pp: int, layers: int | None) -> int:
    stages = r.get("--num-virtual-stages-per-pipeline-rank")
    each = r.get("--num-layers-per-virtual-pipeline-stage")
    if stages is None and each and layers and layers % (pp * each) == 0:
        stages = layers // pp // each
    return stages or 1


def _split(r: Reading, pp: int, layers: int | None) -> Keys:
    """Layers of each chunk from a layout string, or from a different first and last stage."""
    text = r.get("--pipeline-model-parallel-layout")
    if text:
        chunks = chunks_of_layout(str(text))
        if chunks is None or len(chunks) % pp:
            r.note("--pipeline-model-parallel-layout", "its pattern is not one of layers alone")
            return {}
        return {"layers_per_stage": chunks, "vpp": len(chunks) // pp}
    first = r.get("--decoder-first-pipeline-num-layers")
    last = r.get("--decoder-last-pipeline-num-layers")
    ends = (first is not None) + (last is not None)
    if not ends or not layers:
        return {}
    rest = layers - (first or 0) - (last or 0)
    if pp <= ends or rest % (pp - ends):
        return {}
    middle = [rest // (pp - ends)] * (pp - ends)
    head = [first] if first is not None else []
    return {"layers_per_stage": [*head, *middle, *([last] if last is not None else [])]}


def chunks_of_layout(text: str) -> list[int] | None:
    """Layers of each chunk of ``Et*5|(t*6|)*10t*5L``; None if it says something else."""
    flat = text.replace(" ", "").replace(",", "")
    while found := re.search(r"\(([^()]*)\)\*(\d+)", flat):
        flat = flat[: found.start()] + found[1] * int(found[2]) + flat[found.end() :]
    flat = re.sub(r"([Etm])\*(\d+)", lambda m: m[1] * int(m[2]), flat)
    if not re.fullmatch(r"E[t|]*m*L", flat):
        return None
    return [chunk.count("t") for chunk in flat.split("|")]


def batch_keys(r: Reading, seq: int | None) -> Keys:
    """``batch.*``."""
    keys: Keys = {"micro": r.get("--micro-batch-size", "--batch-size") or 1}
    size = r.get("--global-batch-size")
    if size:
        keys["global"] = size
    ramp = r.words("--rampup-batch-size")
    steps = r.words("--step-batch-size-schedule")
    if ramp and len(ramp) == 3 and all(re.fullmatch(r"[\d_]+", part) for part in ramp):
        start, step, samples = (int(part) for part in ramp)
        if size and start < size:
            keys["ramp"] = {"start": start, "step": step, "samples": samples}
    elif ramp:
        r.note("--rampup-batch-size", "it needs three numbers")
    elif steps:
        keys |= _schedule(r, " ".join(steps), seq)
    return keys


def _schedule(r: Reading, text: str, seq: int | None) -> Keys:
    """A ramp from ``TOKENS:BATCH`` pairs, where they rise evenly."""
    pairs = re.findall(r"([\d.]+)([KMBT]?):(\d+)", text)
    sizes = [int(size) for _, _, size in pairs]
    begins = [round(float(count) * UNITS[unit]) for count, unit, _ in pairs]
    if len(sizes) < 2 or not seq:
        return {"global": sizes[-1]} if sizes else {}
    rises = {b - a for a, b in pairwise(sizes)}
    waits = [b - a for a, b in pairwise(begins)]
    even = max(waits) - min(waits) <= seq
    if len(rises) == 1 and min(rises) > 0 and even:
        samples = round(begins[-1] / seq)
        ramp = {"start": sizes[0], "step": rises.pop(), "samples": samples}
        return {"global": sizes[-1], "ramp": ramp}
    r.note("--step-batch-size-schedule", "its steps are not even: the last one is taken")
    return {"global": sizes[-1]}


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
    told = inner(config, "zero_optimization").get("stage")
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


def recompute_keys(r: Reading) -> Keys:
    """``recompute.*``."""
    kind = r.get("--recompute-granularity", "--activations-checkpoint-granularity")
    method = r.get("--recompute-method", "--activations-checkpoint-method")
    layers = r.get("--recompute-num-layers", "--activations-checkpoint-num-layers")
    r.has("--deepspeed-activation-checkpointing", "--distribute-saved-activations")
    if r.get("--recompute-activations"):
        kind = kind or "selective"
    if r.get("--checkpoint-activations"):
        return {"kind": "full", "layers": r.get("--checkpoint-num-layers") or 1}
    if kind is None and method:
        kind = "full"
    if kind == "selective":
        modules = r.words("--recompute-modules")
        return {"kind": "selective", "modules": list(modules or ("core_attn",))}
    if kind == "full":
        return {"kind": "full", "method": method or "uniform", "layers": layers or 1}
    return {"kind": "none"}


def kernel_keys(r: Reading) -> Keys:
    """``kernels.*``."""
    kind = str(r.get("--attention-backend") or "auto").rpartition(".")[2]
    deepspeed = r.table.program == "megatron-deepspeed"
    if r.get("--use-flash-attn-v2") or r.get("--use-flash-attn"):
        kind = "flash"
    elif deepspeed:
        kind = "auto"
    if kind not in ("auto", "unfused", "flash", "fused"):
        r.note("--attention-backend", "recipes have auto, unfused, flash and fused")
        kind = "auto"
    graphs = r.get("--cuda-graph-impl") not in (None, "none") or r.get("--enable-cuda-graph")
    graphs = graphs or r.get("--external-cuda-graph")
    if graphs:
        r.has("--te-rng-tracker", "--cuda-graph-scope", "--cuda-graph-warmup-steps")
    return {
        "attention": kind,
        "tp_overlap": bool(r.get("--tp-comm-overlap")),
        "cuda_graphs": bool(graphs),
        "dispatcher": "deepep" if r.get("--moe-enable-deepep") else "alltoall",
    }


def data_keys(r: Reading) -> Keys:
    """``data.*``."""
    paths = r.words("--data-path") or r.words("--train-data-path")
    tokenizer = r.get("--tokenizer-model", "--tokenizer-name-or-path")
    keys: Keys = {"tokenizer": tokenizer, "cache": r.get("--data-cache-path")}
    r.has("--mock-data", "--data-impl", "--use-dataset-only")
    if paths and not any("\ue000" in path for path in paths):
        keys |= {"kind": "indexed"} | _blend(paths)
    elif paths:
        r.note("--data-path", "known only when it runs")
        keys["kind"] = "mock"
    else:
        keys["kind"] = "mock"
    split = r.get("--split")
    shares = [part.strip() for part in str(split or "").split(",")]
    if len(shares) == 3 and all(re.fullmatch(r"[\d.]+", part) for part in shares):
        keys["split"] = _shares([float(part) for part in shares])
    keys["validation"] = _validation(r, keys)
    return {key: value for key, value in keys.items() if value}


def _validation(r: Reading, data: Keys) -> Keys:
    """Only what the command line itself asks for: the program's default is a habit, no wish."""
    asked = r.has("--eval-iters")
    batches, interval = r.get("--eval-iters"), r.get("--eval-interval")
    held = r.words("--valid-data-path") if data["kind"] == "indexed" else None
    keys = _blend(held) if held else {}
    # Without tokens to validate on Megatron does not, whatever it is asked.
    some = data["kind"] == "mock" or held or data.get("split", (0, 1))[1]
    if asked and batches and interval and some:
        keys |= {"interval": interval, "batches": batches}
    return keys


def _shares(parts: list[float]) -> list[float]:
    """As fractions: Megatron only looks at their ratio."""
    total = sum(parts)
    return [round(part / total, 9) for part in parts] if total > 1.5 else parts


def _blend(paths: tuple[str, ...]) -> Keys:
    """Weights and prefixes in turn, or prefixes alone."""
    weighted = len(paths) > 1 and len(paths) % 2 == 0
    if weighted and all(re.fullmatch(r"[\d.]+(e-?\d+)?", each) for each in paths[::2]):
        return {"paths": list(paths[1::2]), "weights": [float(each) for each in paths[::2]]}
    return {"paths": list(paths)}
