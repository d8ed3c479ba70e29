"""``plan --explain``: the memory of a rank, and what fits. A table."""

from llmtrain.planner.explain import memory
from llmtrain.planner.explain.entry import Entry

_STATE = "megatron-core docs/api-guide/dist_optimizer; arXiv 1910.02054, section 5"
_SHARD = "shared over dp × cp, the experts' over edp"

MEMORY: dict[str, Entry] = {
    "stages": (
        "of one rank: layers, parameters, memory",
        "planner/parameters.py, memory.py",
        memory.memory,
    ),
    "stages.stage": ("the stage's number, from 0", "definition", memory.stage),
    "stages.layers": (
        "layers / pp, or as parallel.layers_per_stage says",
        "megatron-core transformer_block.py",
        memory.stage,
    ),
    "stages.parameters": (
        "layers × their parameters on a rank, cut over tp, the experts over ep × etp; + the ends",
        "megatron-core, meta device",
        memory.parameters,
    ),
    "stages.memory": (
        "weights + gradients + optimizer + activations + workspace",
        "definition",
        memory.memory,
    ),
    "stages.memory.weights": (
        f"parameters × bytes of a weight, with ZeRO 3 {_SHARD}; + copies in FP8 of all but "
        "embedding and output layer",
        _STATE,
        memory.states,
    ),
    "stages.memory.gradients": (
        f"parameters × bytes of a gradient, with ZeRO 2 and 3 {_SHARD}",
        _STATE,
        memory.states,
    ),
    "stages.memory.optimizer": (
        f"parameters × bytes of optimizer states, with ZeRO 1 to 3 {_SHARD}",
        _STATE,
        memory.states,
    ),
    "stages.memory.activations": (
        "memory factor × what the chunks' micro-batches in flight keep for the backward pass, at "
        "the fullest moment of the schedule, outputs and embedding included",
        "arXiv 2205.05198, section 4; held against autograd's saved tensors",
        memory.activations,
    ),
    "stages.memory.workspace": (
        "memory factor × (transients of the fullest moment + buffers + buckets + gathered layers "
        "+ copies) + CUDA context + NCCL + the allocator's slack",
        "planner/data/memory.yaml",
        memory.workspace,
    ),
    "stages.memory.total": (
        "weights + gradients + optimizer + activations + workspace",
        "definition",
        memory.memory,
    ),
    "peak_memory_bytes": (
        "weights + gradients + optimizer + activations + workspace of the worst rank",
        f"{_STATE}; arXiv 2205.05198, section 4",
        memory.memory,
    ),
    "memory_capacity_bytes": (
        "what the device reports as usable",
        "the GPU's data file",
        memory.processor,
    ),
    "host_memory_bytes": (
        "ranks of a node × (parameters / (dp × cp) + those of experts / edp) × (optimizer + "
        "gradient + weight)",
        "DeepSpeed 0.19.8 runtime/zero/stage_1_and_2.py; only with optim.offload",
        memory.host,
    ),
    "verdict": (
        "no: needed > capacity; tight: needed × (1 + the model's error) > capacity; else fits",
        "planner/data/memory.yaml, error_band",
        memory.verdict,
    ),
    "fits": ("verdict is not `no`", "as verdict", memory.verdict),
    "checkpoint_bytes": (
        "parameters × (weight + two fp32 moments + fp32 copy of 16-bit weights)",
        "planner/checkpoints.py; BLOOM's 2.3 TB",
        memory.checkpoint,
    ),
}
"""By key of ``plan --json``, list positions left out."""
