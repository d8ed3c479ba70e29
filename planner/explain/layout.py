"""``plan --explain``: the layout, the batch, the length, the parameters and the data."""

from llmtrain.planner.calibration import calibration_json, measured_on
from llmtrain.planner.explain.entry import Entry, Numbers
from llmtrain.planner.length import steps_by_size
from llmtrain.planner.parameters import (
    WHOLE,
    embedding,
    embedding_matrix,
    feed_forward,
    layer,
    norm,
    prediction,
    rank_parameters,
)
from llmtrain.planner.plan import SCHEMA, Plan
from llmtrain.planner.sets import name_of


def schema(_: Plan, __: str) -> Numbers:
    """The version."""
    return {"this llmtrain writes": SCHEMA}


def composed(plan: Plan, _: str) -> Numbers:
    """What the recipe is made of."""
    recipe = plan.recipe
    parts = {"model": recipe.model.name, "cluster": recipe.cluster.name}
    return {**parts, "backend": recipe.backend.name, "gpus": recipe.gpus}


def problems(plan: Plan, field: str) -> Numbers:
    """How many there are, and of which kind."""
    found = plan.warnings if field.startswith("warnings") else plan.errors
    return {"how many": len(found), "codes": ", ".join(each.code for each in found) or "none"}


def layout(plan: Plan, _: str) -> Numbers:
    """The degrees."""
    parallel = plan.recipe.parallel
    return {"gpus": plan.recipe.gpus, "tp": parallel.tp, "pp": parallel.pp, "cp": parallel.cp}


def experts(plan: Plan, _: str) -> Numbers:
    """The degrees of the experts."""
    parallel = plan.recipe.parallel
    sizes = {"etp": parallel.expert_tp, "ep": parallel.ep, "pp": parallel.pp}
    return {"gpus": plan.recipe.gpus, **sizes}


def nodes(plan: Plan, _: str) -> Numbers:
    """GPUs and what a node has."""
    return {"gpus": plan.recipe.gpus, "ranks a node": plan.ranks_per_node}


def batch(plan: Plan, _: str) -> Numbers:
    """The batch."""
    sizes = plan.recipe.batch
    return {"batch.global": sizes.global_, "batch.micro": sizes.micro, "dp": plan.dp}


def steps(plan: Plan, _: str) -> Numbers:
    """Length of the run, the batch ramp's steps by size."""
    recipe = plan.recipe
    given: Numbers = {"run.steps": recipe.run.steps, "tokens": recipe.tokens}
    by_size = steps_by_size(recipe) or ()
    sizes = {f"steps with {size} sequences": count for size, count in by_size}
    return {**given, "seq": recipe.model.seq, **sizes}


def shape(plan: Plan, _: str) -> Numbers:
    """The model's shape, and the parameters of its pieces."""
    recipe = plan.recipe
    model, tp = recipe.model, recipe.parallel.tp
    names = ["layers", "hidden", "heads", "vocab", "seq", "positions", "tied", "bias", "norm"]
    if model.experts:
        names += ["experts", "topk", "moe_ffn", "shared_experts", "dense_layers", "mtp"]
    found = {name: getattr(model, name) for name in names}
    found |= {"kv_heads": model.kv_head_count, "ffn": model.ffn_size}
    found |= {"padded vocabulary": model.padded_vocab(tp), "tp": tp}
    moe = sum(model.is_moe_layer(number) for number in range(model.layers))
    for kind, count, at in (("dense", model.layers - moe, 0), ("MoE", moe, model.layers - 1)):
        if count:
            found |= {f"{kind} layers": count}
            found[f"parameters of a {kind} layer"] = layer(model, at, WHOLE).total
    if moe:
        found["parameters of an expert"] = feed_forward(model, model.expert_ffn_size, 1)
    return found | {
        "embedding": embedding(recipe, 1),
        "final norm": norm(model, model.hidden),
        "output layer": 0 if model.tied else embedding_matrix(recipe),
        "multi-token prediction": prediction(recipe, WHOLE).total,
    }


def per_stage(plan: Plan, field: str) -> Numbers:
    """Of one rank, and over how many ranks that lies."""
    number = field.rpartition(".")[2]
    stage = int(number) if number.isdigit() else 0
    one, parallel = rank_parameters(plan.recipe, stage), plan.recipe.parallel
    return {
        "stage": stage,
        "parameters of a rank": one.dense,
        "of its experts": one.expert,
        "tp": parallel.tp, "ep": parallel.ep, "etp": parallel.expert_tp,
    }  # fmt: skip


def data(plan: Plan, _: str) -> Numbers:
    """Samples and tokens of each set."""
    seq = plan.recipe.model.seq
    return {"data.kind": plan.recipe.data.kind} | {
        f"{name_of(each)} ({each.use})": f"{each.samples or '?'} × {seq} / {each.tokens or '?'}"
        for each in plan.sets
    }


def calibration(plan: Plan, _: str) -> Numbers:
    """What is corrected, and what it would have to be measured on."""
    return calibration_json(plan.recipe) or {"none for": measured_on(plan.recipe)}


_META = "megatron-core models/gpt, transformer; held against its modules on the meta device"

LAYOUT: dict[str, Entry] = {
    "schema": ("the version of this object's keys", "planner/plan.py, SCHEMA", schema),
    "recipe": ("its key `name`, else the name of its file", "the recipe", composed),
    "warnings": (
        "what a user should know: advice, calibration, quota, data, indices",
        "planner/advice.py, calibration.py, outlook.py, sets.py, index_cache.py",
        problems,
    ),
    "errors": (
        "why this plan cannot be launched: what the backend cannot express, and memory",
        "planner/mending.py, expressible.py, verdict.py",
        problems,
    ),
    "gpus": ("GPUs that compute", "the recipe", nodes),
    "nodes": ("gpus / ranks of a node, rounded up", "definition", nodes),
    "parallel": ("degrees of the recipe; dp = gpus / (tp × pp × cp)", "the recipe", layout),
    "parallel.dp": ("gpus / (tp × pp × cp)", "Megatron-LM, parallel_state", layout),
    "parallel.ep": (
        "the recipe's; over the ranks of tp × cp × dp",
        "megatron-core, parallel_state",
        experts,
    ),
    "parallel.etp": ("the recipe's, else tp", "megatron-core, parallel_state", experts),
    "parallel.edp": ("gpus / (etp × ep × pp)", "megatron-core, parallel_state", experts),
    "batch": ("sizes of the recipe, in sequences", "the recipe", batch),
    "batch.microbatches": ("batch.global / (batch.micro × dp)", "arXiv 2104.04473, 2.2", batch),
    "steps": (
        "run.steps, else tokens / (seq × global batch), the ramp's steps by their size",
        "Megatron-LM, microbatch calculator",
        steps,
    ),
    "data": (
        "epochs of a set: its samples × model.seq / tokens of its part of the split",
        "megatron-core 0.16 datasets/gpt_dataset.py; sizes from the .idx files on this machine",
        data,
    ),
    "params": ("matrices, norms and biases as megatron-core builds them", _META, shape),
    "params.total": (
        "layers × their parameters + embedding + final norm + output layer (0 where tied) + "
        "multi-token prediction",
        _META,
        shape,
    ),
    "params.active": (
        "params.total - (MoE layers + mtp) × (experts - topk) × the parameters of an expert",
        _META,
        shape,
    ),
    "params.per_stage": (
        "parameters of a rank × tp + those of its experts × ep × etp",
        _META,
        per_stage,
    ),
    "calibration": (
        "measured / planned by `llmtrain calibrate`: step_factor on the step and its breakdown, "
        "memory_factor on activations and workspace; the errors replace the model's own",
        "the runs that it names",
        calibration,
    ),
}
"""By key of ``plan --json``, list positions left out."""
