"""Environment that depends on what a program is told: one function a rule.

Each variable has its reason and where that was read. The cluster's own data and what site and
recipe set are elsewhere; the latter win.
"""

from collections.abc import Callable, Iterator

from llmtrain.config.recipe import Recipe
from llmtrain.config.reference import trains
from llmtrain.launchers.launch import Variable
from llmtrain.planner.limits import version_of

Rule = Callable[[Recipe], Iterator[Variable]]

VALIDATION = "megatron/training/arguments.py (validate_args)"
MEGATRON = f"Megatron-LM core_v0.19.0 {VALIDATION}"
CORE = "megatron-core 0.16.1 tensor_parallel/layers.py"
DEEPSPEED = "Megatron-DeepSpeed 4efb479d megatron/arguments.py (validate_args)"
ENGINE = "NVIDIA/TransformerEngine@d0067d0d docs/envvars.rst"
PERFORMANCE = "NVIDIA-NeMo/Megatron-Bridge (environment of its b200 and gb200 recipes)"
BRIDGE = "NVIDIA-NeMo/Megatron-Bridge@067f987d docs/recipe-usage.md"
WATCHDOG = "pytorch 2.13.0 torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp"

ALLOCATOR = ("PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF")
MARGIN = 20
"""SMs that a norm leaves to communication, of 132."""


def program_environment(recipe: Recipe) -> tuple[Variable, ...]:
    """What the rules say of ``recipe``; nothing on a CPU."""
    if recipe.cluster.device != "cuda":
        return ()
    return tuple(variable for rule in RULES for variable in rule(recipe))


def launch_order(recipe: Recipe) -> Iterator[Variable]:
    """CUDA_DEVICE_MAX_CONNECTIONS: 1 where the program asserts it, several queues on Blackwell.

    Communication of tensor and context parallel overlaps products only if kernels start in the
    program's order, which one hardware queue gives before Blackwell. Sharded weights (FSDP, ZeRO-3)
    want several queues: Megatron-LM asserts that it is not 1 there.
    """
    value, reason, source = _queues(recipe)
    if value:
        yield _variable("CUDA_DEVICE_MAX_CONNECTIONS", value, reason, source)


def _queues(recipe: Recipe) -> tuple[str, str, str]:
    """Value, reason and source; without tensor or context parallel CUDA's own value is faster."""
    parallel, backend = recipe.parallel, recipe.backend.name
    blackwell = recipe.cluster.gpu.arch == "blackwell"
    if backend == "megatron-deepspeed":
        reason = "sequence parallel overlaps communication in launch order; asserted"
        return ("1" if parallel.sequence else "", reason, DEEPSPEED)
    if recipe.optim.zero > 1 or max(parallel.tp, parallel.cp) == 1 or backend == "deepspeed":
        return ("", "", "")
    if trains(recipe):
        reason = "tensor parallel overlaps communication in launch order; it warns otherwise"
        return ("" if blackwell else "1", reason, CORE)
    # Its condition reads "tp > 1 or cp > 1 and before Blackwell": tp is asserted on any GPU.
    oldest = version_of(recipe) == "v0.12.0rc3" and parallel.tp > 1
    if blackwell and not oldest:
        reason = "Blackwell overlaps communication without launch order; NVIDIA's recipes set 32"
        return ("32", reason, PERFORMANCE)
    reason = "tensor and context parallel overlap communication in launch order; asserted"
    return ("1", reason, f"Megatron-LM {version_of(recipe)} {VALIDATION}")


def allocator(recipe: Recipe) -> Iterator[Variable]:
    """Expandable segments move memory that a captured collective has registered.

    Megatron-LM asserts NCCL_GRAPH_REGISTER = 0 for them together.
    """
    given = {**recipe.site.env, **recipe.env}
    expandable = any("expandable_segments:True" in given.get(name, "") for name in ALLOCATOR)
    if recipe.kernels.cuda_graphs and expandable:
        reason = "expandable segments with CUDA graphs: registered memory may move; asserted"
        yield _variable("NCCL_GRAPH_REGISTER", "0", reason, MEGATRON)


def margins(recipe: Recipe) -> Iterator[Variable]:
    """Norms of Transformer Engine leave SMs to communication that runs beside them.

    Without overlap there is none beside them, and Ampere's are not worth it (MLPerf and
    Megatron-Bridge set them on Hopper).
    """
    optim = recipe.optim
    overlap = optim.overlap_grad_reduce or optim.overlap_param_gather or recipe.kernels.tp_overlap
    if recipe.backend.name != "megatron-lm" or recipe.cluster.gpu.arch != "hopper" or not overlap:
        return
    for direction, name in (("forward", "FWD"), ("backward", "BWD")):
        reason = f"norms of the {direction} pass leave {MARGIN} SMs to communication that overlaps"
        source = f"{BRIDGE}; {ENGINE}"
        yield _variable(f"NVTE_{name}_LAYERNORM_SM_MARGIN", str(MARGIN), reason, source)


def threads(recipe: Recipe) -> Iterator[Variable]:
    """Half of a rank's physical cores; the rest is for data workers and communication.

    A rule of thumb. torchrun sets 1 where it finds nothing and a node has several ranks.
    """
    cores = recipe.cluster.cpu_cores_per_node
    if cores is None:
        return
    count = max(1, cores // recipe.cluster.gpus_per_node // 2)
    reason = f"half of a rank's {cores // recipe.cluster.gpus_per_node} cores; torchrun sets 1 else"
    yield _variable("OMP_NUM_THREADS", str(count), reason, "torch/distributed/run.py (2.13.0)")


def watchdog(recipe: Recipe) -> Iterator[Variable]:
    """When a collective times out, what every rank did last is written down.

    Releases of torch before 2.9 did neither by themselves; the checkout's image decides which runs.
    """
    reason = "the last collectives of every rank are kept, to tell which one hung"
    yield _variable("TORCH_FR_BUFFER_SIZE", "2000", reason, WATCHDOG)
    reason = "the watchdog writes them down before it ends the job"
    yield _variable("TORCH_NCCL_DUMP_ON_TIMEOUT", "1", reason, WATCHDOG)


RULES: tuple[Rule, ...] = (launch_order, allocator, margins, threads, watchdog)
"""Every rule."""


def _variable(name: str, value: str, reason: str, source: str) -> Variable:
    return Variable(name=name, value=value, source=f"rule: {source}", reason=reason)
