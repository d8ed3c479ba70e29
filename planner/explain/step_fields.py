"""``plan --explain``: the step. A table."""

from llmtrain.planner.explain import compute, messages, step
from llmtrain.planner.explain.entry import Entry

_LINKS = "rings: nccl-tests doc/PERFORMANCE; rates in planner/data/gpus; overlap in data/stacks"
_EACH = "micro-batches × the slowest stage's layers and ends"

STEP: dict[str, Entry] = {
    "step_seconds": (
        "the sum of its breakdown: slowest stage × micro-batches + bubble + exposed data "
        "parallel + optimizer + host + stragglers; operators by shape, messages by size and place",
        "planner/step.py; constants with sources in planner/data/gpus and planner/data/stacks",
        step.breakdown,
    ),
    "step_seconds_range": (
        "step_seconds × (1 ± the error that the stack's published runs show, or `calibration`)",
        "benchmarks/published.py, docs/accuracy.md",
        step.step_range,
    ),
    "breakdown": (
        "exposed seconds; they add up to step_seconds",
        "planner/step.py",
        step.breakdown,
    ),
    "breakdown.gemm": (
        f"{_EACH}; each the factor of the stack × its products below (m × k × n: forward + "
        "backward): tiles in waves over the multiprocessors, each 2 × rows × columns × "
        "(k + depth) operations; + sums of gradients and casts to FP8",
        "NVIDIA Matrix Multiplication Background, sections 2 and 3; shares in planner/data/gpus",
        compute.products,
    ),
    "breakdown.attention": (
        f"{_EACH}; a layer: factor of the stack × (forward + backward); forward: half the "
        "operations / the kernel's rate at this length and width, backward 2.5 × as many; "
        "unfused: two products and the passes over the scores",
        "arXiv 2307.08691, 2407.08608; rates in planner/data/gpus",
        compute.attention,
    ),
    "breakdown.elementwise": (
        f"{_EACH}; each the factor of the stack × the sum of (elements × bytes + a start's bytes) "
        "/ bytes a second / share of the bandwidth, forward and backward",
        "bytes in planner/data/stacks",
        compute.passes,
    ),
    "breakdown.recompute": (
        f"{_EACH}; a layer: share that is whole × (computed forward - kept + communication) + "
        "the rest × its modules forward; + what the host delays it",
        "arXiv 2205.05198, section 5",
        compute.recompute,
    ),
    "breakdown.launch": (
        f"{_EACH}, and the host's time a micro-batch; a layer: kernels × the host's time a kernel "
        "(backward twice as many), less what they compute, forward and backward, at least 0",
        "planner/data/stacks",
        compute.launch,
    ),
    "breakdown.tensor_parallel": (
        f"{_EACH}; a block: with sequence parallelism gather + scatter forward, gather + (gather "
        "+ scatter) × (1 - hidden) backward, without it 2 + 2 × (1 - hidden); × (1 - hidden by "
        "tp_overlap); experts: 4 gathers over etp",
        f"arXiv 2205.05198, section 4.2.2; {_LINKS}",
        messages.tensor,
    ),
    "breakdown.context_parallel": (
        f"{_EACH}; a layer: (cp - 1) × what a hop forward, two backward, take longer than the "
        "attention beside them",
        f"Transformer Engine AttnFuncWithCPAndKVP2P; {_LINKS}",
        messages.context,
    ),
    "breakdown.expert_parallel": (
        f"{_EACH}; a MoE layer: 4 exchanges (dispatch and combine, forward and backward) × "
        "(1 - hidden)",
        _LINKS,
        messages.expert,
    ),
    "breakdown.pipeline": (
        "micro-batches × 2 × vpp × one message × (1 - hidden); 0 with one stage",
        _LINKS,
        messages.pipeline,
    ),
    "breakdown.bubble": (
        "(all stages together - the slowest) / vpp",
        "arXiv 2104.04473, section 2.2.2; beside it the engines' schedule, pass by pass",
        step.bubble,
    ),
    "breakdown.data_parallel": (
        "gradients (scattered × collectives) and, with ZeRO 1 and 2, weights, each less the "
        "smaller of its share that can hide and the passes beside it, + the tied embedding's; "
        "ZeRO 3: micro-batches × (weights + latency beside the forward, weights + gradients + "
        "2 × latency beside the backward pass)",
        f"arXiv 1910.02054, section 7; {_LINKS}",
        messages.data_parallel,
    ),
    "breakdown.optimizer": (
        "parameters that a rank updates (its layers' and embedding's / dp × cp, its experts' / "
        "edp; whole with ZeRO 0) × bytes a parameter / bytes a second; offloaded: × seconds",
        "planner/data/stacks, optimizer_bytes; planner/data/gpus, memory and host",
        step.optimizer,
    ),
    "breakdown.host": (
        "the stack's time a step outside of all else",
        "planner/data/stacks, step_seconds",
        step.host,
    ),
    "breakdown.stragglers": (
        "the rest × drift × log2(gpus / ranks of a node)",
        "planner/data/stacks, drift",
        step.stragglers,
    ),
    "tokens_per_second_per_gpu": (
        "tokens of a step / (step_seconds × gpus)",
        "definition",
        step.rate,
    ),
    "model_tflops_per_gpu": (
        "operations of forward and backward pass / (step_seconds × gpus)",
        "arXiv 2205.05198, appendix A",
        step.rate,
    ),
    "mfu": (
        "model TFLOP/s a GPU / its peak, recompute not counted",
        "arXiv 2204.02311, appendix B",
        step.rate,
    ),
    "hfu": ("as mfu, with what is computed again", "arXiv 2205.05198, appendix A", step.rate),
    "mfu_convention": (
        "dense peak of the numbers that the layers' products use; full: the whole square "
        "of attention counts",
        "planner/flops.py names the others",
        step.rate,
    ),
}
"""By key of ``plan --json``."""
