"""The fields of a plan: formula, source, and what went in. A table."""

from collections.abc import Callable
from typing import Any

from llmtrain.planner import explain_numbers as numbers
from llmtrain.planner.plan import Plan

Numbers = Callable[[Plan, str], dict[str, Any]]
Entry = tuple[str, str, Numbers]

_STATE = "megatron-core docs/api-guide/dist_optimizer; arXiv 1910.02054, section 5"
_LINKS = "rings: nccl-tests doc/PERFORMANCE; rates in planner/data/gpus; overlap in data/stacks"
_DALY = "Daly 2006, equations 20 and 37; rates in planner/data/failures.yaml"
_STEP = "slowest stage × micro-batches + bubble + exposed data parallel + optimizer + host"

FIELDS: dict[str, Entry] = {
    "gpus": ("GPUs that compute", "the recipe", numbers.nodes),
    "nodes": ("gpus / ranks of a node, rounded up", "definition", numbers.nodes),
    "parallel": ("degrees of the recipe; dp = gpus / (tp × pp × cp)", "the recipe", numbers.layout),
    "parallel.dp": ("gpus / (tp × pp × cp)", "Megatron-LM, parallel_state", numbers.layout),
    "parallel.ep": (
        "the recipe's; over the ranks of tp × cp × dp",
        "megatron-core, parallel_state",
        numbers.experts,
    ),
    "parallel.etp": ("the recipe's, else tp", "megatron-core, parallel_state", numbers.experts),
    "parallel.edp": ("gpus / (etp × ep × pp)", "megatron-core, parallel_state", numbers.experts),
    "batch": ("sizes of the recipe, in sequences", "the recipe", numbers.batch),
    "batch.microbatches": (
        "batch.global / (batch.micro × dp)",
        "arXiv 2104.04473, 2.2",
        numbers.batch,
    ),
    "steps": (
        "run.steps, else tokens / (seq × global batch), the ramp's steps by their size",
        "Megatron-LM, microbatch calculator",
        numbers.steps,
    ),
    "params": (
        "matrices, norms and biases as megatron-core builds them; tied ones once; active: "
        "of the routed experts topk count",
        "megatron-core models/gpt, transformer; held against its modules on the meta device",
        numbers.shape,
    ),
    "params.per_stage": ("of one pipeline rank, summed over tp", "as params", numbers.shape),
    "stages": (
        "of one rank: layers, parameters, memory",
        "planner/parameters.py, memory.py",
        numbers.memory,
    ),
    "stages.parameters": (
        "one rank's matrices, cut over tp and ep",
        "megatron-core, meta device",
        numbers.memory,
    ),
    "stages.memory.weights": (
        "parameters × bytes of a weight, sharded by ZeRO 3",
        _STATE,
        numbers.memory,
    ),
    "stages.memory.gradients": (
        "parameters × bytes of a gradient, sharded by ZeRO 2 and 3",
        _STATE,
        numbers.memory,
    ),
    "stages.memory.optimizer": (
        "parameters × bytes of optimizer states, sharded by ZeRO 1 to 3",
        _STATE,
        numbers.memory,
    ),
    "stages.memory.activations": (
        "what the layers of the micro-batches in flight keep for the backward pass, at the "
        "fullest moment of the schedule",
        "arXiv 2205.05198, section 4; held against autograd's saved tensors",
        numbers.memory,
    ),
    "stages.memory.workspace": (
        "transients of the fullest moment + buffers + NCCL + CUDA context + allocator",
        "planner/data/memory.yaml",
        numbers.memory,
    ),
    "stages.memory.total": (
        "weights + gradients + optimizer + activations + workspace",
        "definition",
        numbers.memory,
    ),
    "peak_memory_bytes": (
        "weights + gradients + optimizer + activations + workspace of the worst rank",
        f"{_STATE}; arXiv 2205.05198, section 4",
        numbers.memory,
    ),
    "memory_capacity_bytes": (
        "what the device reports as usable",
        "the GPU's data file",
        numbers.processor,
    ),
    "host_memory_bytes": (
        "ranks of a node × parameters of a rank × (optimizer + 4 + weight) / (dp × cp)",
        "DeepSpeed 0.19.8 runtime/zero/stage_1_and_2.py; only with optim.offload",
        numbers.memory,
    ),
    "verdict": (
        "no: needed > capacity; tight: needed × (1 + the model's error) > capacity; else fits",
        "planner/data/memory.yaml, error_band",
        numbers.verdict,
    ),
    "fits": ("verdict is not `no`", "as verdict", numbers.verdict),
    "calibration": (
        "measured / planned by `llmtrain calibrate`: step_factor on the step and its breakdown, "
        "memory_factor on activations and workspace; the errors replace the model's own",
        "the runs that it names",
        numbers.calibration,
    ),
    "step_seconds": (
        f"{_STEP}; operators by shape, messages by size and place",
        "planner/step.py; constants with sources in planner/data/gpus and planner/data/stacks",
        numbers.breakdown,
    ),
    "step_seconds_range": (
        "step_seconds × (1 ± the error that the stack's published runs show, or `calibration`)",
        "benchmarks/published.py, docs/accuracy.md",
        numbers.stack_values,
    ),
    "breakdown": (
        "exposed seconds; they add up to step_seconds",
        "planner/step.py",
        numbers.breakdown,
    ),
    "breakdown.gemm": (
        "micro-batches × layers × products: tiles in waves over the multiprocessors, each "
        "2 × rows × columns × (k + depth) operations; forward + backward of one layer's "
        "below (m × k × n)",
        "NVIDIA Matrix Multiplication Background, sections 2 and 3; shares in planner/data/gpus",
        numbers.products,
    ),
    "breakdown.attention": (
        "causal operations / the kernel's rate at this length and width; backward 2.5 × forward",
        "arXiv 2307.08691, 2407.08608; rates in planner/data/gpus",
        numbers.attention,
    ),
    "breakdown.elementwise": (
        "elements × bytes an element / memory bandwidth; forward + backward",
        "bytes in planner/data/stacks",
        numbers.passes,
    ),
    "breakdown.recompute": (
        "forward operators computed again in the backward pass",
        "arXiv 2205.05198, section 5",
        numbers.breakdown,
    ),
    "breakdown.launch": (
        "kernels × the host's time for each, where the kernels are shorter",
        "planner/data/stacks",
        numbers.stack_values,
    ),
    "breakdown.tensor_parallel": (
        "gathers and scatters of each block over tp, less what overlaps",
        _LINKS,
        numbers.messages,
    ),
    "breakdown.context_parallel": (
        "keys and values round the cp ring, less what hides behind attention",
        _LINKS,
        numbers.messages,
    ),
    "breakdown.expert_parallel": (
        "dispatch and combine, forward and backward, less what overlaps",
        _LINKS,
        numbers.messages,
    ),
    "breakdown.pipeline": (
        "messages between stages that a micro-batch waits for",
        _LINKS,
        numbers.messages,
    ),
    "breakdown.bubble": (
        "(all stages together - the slowest) / vpp",
        "arXiv 2104.04473, section 2.2.2; beside it the engines' schedule, pass by pass",
        numbers.bubble,
    ),
    "breakdown.data_parallel": (
        "reduction of gradients and gathering of weights, less what overlaps",
        f"arXiv 1910.02054, section 7; {_LINKS}",
        numbers.messages,
    ),
    "breakdown.optimizer": (
        "parameters of the rank's shard × bytes / memory bandwidth",
        "planner/data/stacks, optimizer_bytes",
        numbers.stack_values,
    ),
    "breakdown.host": (
        "the stack's time a step outside of all else",
        "planner/data/stacks, step_seconds",
        numbers.stack_values,
    ),
    "breakdown.stragglers": (
        "the rest × drift × log2(nodes)",
        "planner/data/stacks, drift",
        numbers.stack_values,
    ),
    "tokens_per_second_per_gpu": (
        "tokens of a step / (step_seconds × gpus)",
        "definition",
        numbers.rate,
    ),
    "model_tflops_per_gpu": (
        "operations of forward and backward pass / (step_seconds × gpus)",
        "arXiv 2205.05198, appendix A",
        numbers.rate,
    ),
    "mfu": (
        "model TFLOP/s a GPU / its peak, recompute not counted",
        "arXiv 2204.02311, appendix B",
        numbers.rate,
    ),
    "hfu": ("as mfu, with what is computed again", "arXiv 2205.05198, appendix A", numbers.rate),
    "mfu_convention": (
        "dense peak of the numbers that the layers' products use; full: the whole square "
        "of attention counts",
        "planner/flops.py names the others",
        numbers.rate,
    ),
    "days": (
        "steps × their time, the ramp's smaller steps included; no failures",
        "planner/length.py",
        numbers.length,
    ),
    "gpu_hours": ("days × 24 × gpus; no failures", "definition", numbers.length),
    "goodput": (
        "net time / gross time with checkpoints, failures and restarts",
        _DALY,
        numbers.failures,
    ),
    "data": (
        "epochs of a set: its samples × model.seq / tokens of its part of the split",
        "megatron-core 0.16 datasets/gpt_dataset.py; sizes from the .idx files on this machine",
        numbers.data,
    ),
    "checkpoint_bytes": (
        "parameters × (weight + two fp32 moments + fp32 copy of 16-bit weights)",
        "planner/checkpoints.py; BLOOM's 2.3 TB",
        numbers.checkpoint,
    ),
}
"""By key of ``plan --json``, list positions left out: formula, source, and what went in."""
