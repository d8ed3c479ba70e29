"""A resolved Hydra or NeMo YAML, read as the arguments of Megatron-LM that it stands for."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from llmtrain.config.errors import Problem, UsageError
from llmtrain.launchers.backends.flag_table import FlagTable, read_flags
from llmtrain.launchers.importing.source import Source
from llmtrain.launchers.mappings import inner, leaves
from llmtrain.planner.limits import VERSIONS

FLAGS: Mapping[str, str] = {
    "encoder_seq_length": "--seq-length",
    "layernorm_epsilon": "--norm-epsilon",
    "rotary_percentage": "--rotary-percent",
    "virtual_pipeline_model_parallel_size": "--num-virtual-stages-per-pipeline-rank",
    "num_moe_experts": "--num-experts",
    "init_method_std": "--init-method-std",
    "activations_checkpoint_granularity": "--recompute-granularity",
    "activations_checkpoint_method": "--recompute-method",
    "activations_checkpoint_num_layers": "--recompute-num-layers",
    "ub_tp_comm_overlap": "--tp-comm-overlap",
    "override_vocab_size": "--vocab-size",
    "grad_clip": "--clip-grad",
    "gradient_clip_val": "--clip-grad",
    "max_steps": "--train-iters",
    "train_iters": "--train-iters",
    "min_lr": "--min-lr",
    "warmup_steps": "--lr-warmup-iters",
    "lr_warmup_iters": "--lr-warmup-iters",
    "lr_decay_iters": "--lr-decay-iters",
    "fp8_margin": "",
}
"""Last part of a key -> the flag of the same meaning, where the names differ."""

IGNORED = re.compile(
    r"^(run|hydra|cluster|training|defaults|exp_manager|stages|base_|env_vars|name|restore)\b|"
    r"(logger|checkpoint(er|ing)?_?(cfg|config)?|profile|nsys|callbacks|wandb|tensorboard)"
)
"""Keys about how NeMo itself runs."""


def read_nemo(file: Path, text: str) -> Source:
    """Read a YAML whose keys are NeMo's or Megatron's.

    Raises:
        UsageError: if it is no YAML, or says nothing of a model.
    """
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(f"{file} is not YAML: {str(error).splitlines()[0]}") from error
    model = data.get("model") if isinstance(data, Mapping) else None
    if not isinstance(model, Mapping) or "num_layers" not in model:
        raise UsageError(
            Problem(
                code="no_program",
                says=f"{file} has no `model.num_layers`",
                hint="a resolved configuration of NeMo or Megatron has",
            )
        )
    table = read_flags("megatron-lm", VERSIONS["megatron-lm"][0])
    words = [word for item in leaves(data) for word in _words(*item, table)]
    trainer = inner(data, "trainer")
    nodes, devices = trainer.get("num_nodes"), trainer.get("devices")
    ranks = nodes * devices if isinstance(nodes, int) and isinstance(devices, int) else None
    return Source(
        name=re.sub(r"\W+", "-", file.stem).strip("-") or "imported",
        backend="megatron-lm",
        words=(*words, *_special(model, trainer)),
        gpus=ranks,
        per_node=devices if isinstance(devices, int) else None,
    )


def is_nemo(text: str) -> bool:
    """Whether a YAML is one of NeMo's or Megatron's, and no recipe of ours."""
    if "num_layers" not in text:
        return False
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError:
        return False
    model = data.get("model") if isinstance(data, Mapping) else None
    return isinstance(model, Mapping) and "num_layers" in model


SPECIAL = frozenset(
    {
        "model.activation",
        "model.bias",
        "model.share_embeddings_and_output_weights",
        "model.num_query_groups",
        "model.normalization",
        "model.fp8",
        "model.fp8_hybrid",
        "model.fp8_e4m3",
        *(f"model.tokenizer.{key}" for key in ("library", "model", "type")),
        "model.optim.name",
        "model.optim.betas",
        "model.optim.sched.name",
        "model.data.data_prefix",
        "model.data.splits_string",
        "model.data.seq_length",
        "model.rampup_batch_size",
        "model.apply_query_key_layer_scaling",
        "model.megatron_amp_O2",
        "model.precision",
        "trainer.precision",
        "trainer.num_nodes",
        "trainer.devices",
        "trainer.max_time",
        "model.gradient_as_bucket_view",
        "model.optim.sched.constant_steps",
    }
)
"""Keys that are read by themselves."""


def _words(key: str, value: Any, table: FlagTable) -> Iterator[str]:
    """The flag of a key with its value; a key without one keeps its own name."""
    if key in SPECIAL or IGNORED.search(key) or value is None or value == []:
        return
    if isinstance(value, str) and "${" in value:
        yield from (f"--{key}", value)
        return
    last = key.rpartition(".")[2]
    flag = FLAGS.get(last, f"--{last.replace('_', '-')}")
    known = table.flags.get(flag)
    if known is None:
        if value is not False and flag and key.startswith(("model.", "trainer.")):
            yield from (f"--{key}", str(value))
    elif known.kind != "value":
        if bool(value) == (known.kind == "true"):
            yield flag
    elif not isinstance(value, bool):
        items = value if isinstance(value, list) else [value]
        yield from (flag, *(str(item) for item in items))


def _special(model: Mapping[str, Any], trainer: Mapping[str, Any]) -> Iterator[str]:
    """What NeMo says in another way than the flags."""
    activation = str(model.get("activation", "gelu")).replace("fast-", "")
    gates = {"swiglu": "--swiglu", "squared-relu": "--squared-relu", "geglu": "--quick-geglu"}
    if activation in gates:
        yield gates[activation]
    if model.get("bias") is False:
        yield "--disable-bias-linear"
    if model.get("share_embeddings_and_output_weights") is False:
        yield "--untie-embeddings-and-output-weights"
    groups = model.get("num_query_groups")
    if isinstance(groups, int) and groups != model.get("num_attention_heads"):
        yield from ("--group-query-attention", "--num-query-groups", str(groups))
    norm = str(model.get("normalization", "layernorm")).lower()
    yield from ("--normalization", "RMSNorm" if norm == "rmsnorm" else "LayerNorm")
    if norm == "layernorm1p":
        yield "--apply-layernorm-1p"
    yield from _numbers(model, trainer)
    yield from _optimizer(model)
    yield from _data(model)


def _numbers(model: Mapping[str, Any], trainer: Mapping[str, Any]) -> Iterator[str]:
    kind = str(trainer.get("precision", model.get("precision", "bf16")))
    if "bf16" in kind:
        yield "--bf16"
    elif kind.startswith("16"):
        yield "--fp16"
    if model.get("fp8"):
        yield from ("--fp8-format", "e4m3" if model.get("fp8_e4m3") else "hybrid")


def _optimizer(model: Mapping[str, Any]) -> Iterator[str]:
    optim = inner(model, "optim")
    if "distributed" in str(optim.get("name", "")):
        yield "--use-distributed-optimizer"
    betas = optim.get("betas")
    if isinstance(betas, list) and len(betas) == 2:
        yield from ("--adam-beta1", str(betas[0]), "--adam-beta2", str(betas[1]))
    kind = str(inner(optim, "sched").get("name", ""))
    yield from ("--lr-decay-style", "cosine" if "Cosine" in kind or not kind else kind)


def _data(model: Mapping[str, Any]) -> Iterator[str]:
    ramp = model.get("rampup_batch_size")
    if isinstance(ramp, list) and len(ramp) == 3:
        yield from ("--rampup-batch-size", *(str(part) for part in ramp))
    data = inner(model, "data")
    prefix = data.get("data_prefix")
    if isinstance(prefix, list) and prefix:
        yield from ("--data-path", *(str(part) for part in prefix))
    if isinstance(data.get("splits_string"), str):
        yield from ("--split", data["splits_string"])
    tokenizer = inner(model, "tokenizer")
    kind, path = tokenizer.get("type"), tokenizer.get("model")
    if path or kind:
        yield from ("--tokenizer-model", str(path or kind))
    if kind == "GPT2BPETokenizer":
        yield from ("--tokenizer-type", kind)
