"""A launch that was read, as a recipe: the keys that differ from what a recipe has by itself."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import lcm
from pathlib import Path
from typing import Any

import yaml

from llmtrain.config.errors import Problem
from llmtrain.launchers.importing.data_keys import data_keys
from llmtrain.launchers.importing.engine_keys import engine_notes, left_of_engine
from llmtrain.launchers.importing.kernel_keys import kernel_keys, recompute_keys
from llmtrain.launchers.importing.layout_keys import batch_keys, layout_keys
from llmtrain.launchers.importing.length_keys import length_of, schedule_keys
from llmtrain.launchers.importing.model_keys import model_keys
from llmtrain.launchers.importing.optim_keys import optim_keys, precision_keys
from llmtrain.launchers.importing.reading import Keys, Left, Reading, best_version
from llmtrain.launchers.importing.shorter import composed, shorter
from llmtrain.launchers.importing.source import Source, read_source
from llmtrain.planner.limits import VERSIONS

OURS = re.compile(
    r"--(log-|tensorboard-|wandb-|timing-|eval-|exit-|save$|load$|no-load-|no-save-|ckpt-|"
    r"async-save|dist-ckpt|use-dist-ckpt|use-mcore-models|transformer-impl|distributed-|"
    r"num-workers|deepspeed|no-query-key|no-check-for-nan|check-for-nan|local.rank|master-|"
    r"manual-gc|profile|record-memory|memory-snapshot|no-create-attention-mask|"
    r"auto-detect-ckpt|override-opt|use-checkpoint|finetune$|disable-|kill-switch|"
    r"barrier-with|no-initialization|use-cpu-initialization|empty-unused|enable-one-logger|"
    r"no-one-logger|moe-per-layer-logging|no-bias-|no-masked-softmax|no-gradient-accumulation|"
    r"no-rope-fusion|no-persist|no-async-tensor|cross-entropy|attention-softmax-in-fp32|"
    r"no-mmap|mmap-bin|tokenizer-type|tee|abort-on|partition-activations|hysteresis|"
    r"min-loss-scale|codecarbon|inference|reset-position|reset-attention)"
)
"""Flags about logs, checkpoints, fusions and how a program starts: a launch of ours has its own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Imported:
    """What became of a file."""

    text: str
    """The recipe, as YAML."""
    left: tuple[Left, ...]
    """Arguments without a place, that change the experiment or how it is mapped."""
    ours: tuple[Left, ...]
    """Arguments that a launch of ours decides by itself."""
    notes: tuple[str, ...]
    """What was taken for granted, and what could not be read."""
    problems: tuple[Problem, ...]
    """Why the recipe is not valid as it stands."""


def import_file(file: Path, arguments: tuple[str, ...] = ()) -> Imported:
    """Read ``file`` into a recipe; ``arguments`` are ``cluster=NAME``, ``backend.version=NAME``.

    Raises:
        UsageError: if the file cannot be read or starts nothing that is known.
    """
    source = read_source(file)
    changes = dict(word.partition("=")[::2] for word in arguments if "=" in word)
    version, table = best_version(source.backend, source.words, changes.get("backend.version"))
    reading = Reading(table, source.words)
    notes = list(source.notes)
    keys = _keys(source, reading, version, notes, changes)
    data, problems = _settled(keys, source, reading)
    left = tuple(reading.left())
    lost = [each for each in left if each.why or not OURS.match(each.flag)]
    if not file.suffix.startswith((".y", ".json")):
        # Keys of a YAML are no flags: that a parser lacks them means nothing.
        lost = [replace(each, why=each.why or reading.unknown(each.flag)) for each in lost]
    return Imported(
        text=yaml.safe_dump(data, sort_keys=False, width=100, allow_unicode=True),
        left=(*lost, *left_of_engine(source.engine)),
        ours=tuple(each for each in left if not each.why and OURS.match(each.flag)),
        notes=tuple(notes),
        problems=problems,
    )


def _keys(
    source: Source, r: Reading, version: str, notes: list[str], changes: Mapping[str, str]
) -> Keys:
    """Every key but the schedule's, which needs a recipe to count in."""
    model = {key: value for key, value in model_keys(r).items() if value is not None}
    if "vocab" not in model:
        model["vocab"] = 50257
        notes.append("model.vocab is not in the file: 50257 (GPT-2) is assumed")
    seq, layers = model.get("seq"), model.get("layers")
    precision = precision_keys(r, source.engine)
    batch = batch_keys(r, seq)
    parallel = layout_keys(r, layers)
    gpus = _gpus(source, parallel, notes)
    notes += engine_notes(source.engine, batch, parallel["pp"])
    if "global" not in batch:
        dp = max(1, gpus // (parallel["tp"] * parallel["pp"] * parallel["cp"]))
        batch["global"] = _from_engine(source) or batch["micro"] * dp
    return {
        "cluster": changes.get("cluster") or _cluster(source, precision["kind"], notes),
        "gpus": gpus,
        "model": model,
        "backend": _backend(source, version, model),
        "parallel": parallel,
        "batch": batch,
        "precision": precision,
        "optim": optim_keys(r, source.engine, precision["kind"]),
        "recompute": recompute_keys(r),
        "kernels": kernel_keys(r),
        "data": data_keys(r),
        "site": _site(source),
        "env": dict(source.environment),
        **_run(r, seq),
    }


def _run(r: Reading, seq: int | None) -> Keys:
    found = length_of(r, seq)
    seed = {"seed": r.get("--seed")}
    return found | {"run": found.get("run", {}) | seed}


def _from_engine(source: Source) -> int | None:
    size = source.engine.get("train_batch_size")
    return size if isinstance(size, int) else None


def _gpus(source: Source, parallel: Keys, notes: list[str]) -> int:
    """Ranks: so many as the file starts, else the least that hold the layout."""
    p = parallel
    replica = lcm(p["tp"] * p["pp"] * p["cp"], (p["etp"] or p["tp"]) * p["ep"] * p["pp"])
    if source.gpus is None:
        notes.append(f"gpus is not in the file: {replica}, one replica, is assumed")
        return replica
    if source.gpus % replica:
        gpus = replica * max(1, source.gpus // replica)
        says = f"the file starts {source.gpus} ranks, and its layout needs a multiple of {replica}"
        notes.append(f"{says}: gpus={gpus} is assumed")
        return gpus
    return source.gpus


def _backend(source: Source, version: str, model: Keys) -> Keys:
    newest = VERSIONS[source.backend][0]
    found: Keys = {"name": source.backend, "path": source.path}
    found["version"] = version if version != newest else None
    if model.get("activation") == "geglu" and source.backend == "megatron-lm":
        # The program's own gate is quick GeGLU, which is what the file asked for.
        found["approximate"] = True
    return {key: value for key, value in found.items() if value is not None}


def _cluster(source: Source, kind: str, notes: list[str]) -> str:
    """A kind of machine that could run it; the file does not say more than hints."""
    hints = " ".join(source.options.values()).lower()
    name = "dgx-a100-80g" if "a100" in hints and kind != "fp8" else "dgx-h100"
    notes.append(f"cluster is not in the file: cluster={name} is assumed")
    return name


def _site(source: Source) -> Keys:
    """Slurm's and pyxis's part of the file."""
    options = source.options
    if not options:
        return {}
    found: Keys = {"scheduler": "slurm"}
    for option, key in (("account", "account"), ("partition", "partition"), ("qos", "qos")):
        if options.get(option):
            found[key] = options[option]
    if options.get("time"):
        found["time_limit"] = options["time"]
    if "gres" in options:
        found["gres"] = "gres"
    image = source.container.get("image") or options.get("container-image")
    if image:
        found["container"] = {"runtime": "pyxis", "image": image}
    if source.container.get("mounts"):
        found["mounts"] = source.container["mounts"].split(",")
    return found


def _settled(keys: Keys, source: Source, r: Reading) -> tuple[Keys, tuple[Problem, ...]]:
    """The YAML's data. Steps are counted by a recipe of the same batches on one GPU."""
    precision = keys["precision"]["kind"]
    defaults: list[Any] = ["base", {"cluster": keys.pop("cluster")}, {"backend": source.backend}]
    if precision != "bf16":
        defaults.append({"override precision": precision})
    head: Keys = {"defaults": [*defaults, "_self_"], "name": source.name}
    counted = {name: keys[name] for name in ("tokens", "run") if name in keys}
    alone = (
        head | counted | {"gpus": 1, "model": keys["model"], "batch": keys["batch"] | {"micro": 1}}
    )
    recipe, problems = composed(alone)
    if recipe is None:
        return head | keys, problems
    keys["schedule"] = schedule_keys(r, recipe)
    # A script that names none gets the plan's.
    keys["checkpoint"] = {"interval": r.get("--save-interval")}
    short = head | shorter(keys, head, recipe)
    return short, composed(short)[1]


def listed(found: Imported) -> Iterator[str]:
    """What a user should read beside the recipe."""
    yield from found.notes
    for each in found.left:
        yield f"not placed: {each}"
