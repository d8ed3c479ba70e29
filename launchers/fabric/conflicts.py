"""Variables that do not go together, or not with the program's arguments. One function a rule."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from llmtrain.launchers.backends.flag_table import read_flags
from llmtrain.launchers.fabric.findings import Finding
from llmtrain.launchers.fabric.values import number
from llmtrain.launchers.scripts.document import Document
from llmtrain.launchers.scripts.program import find_program
from llmtrain.launchers.scripts.script import Setting
from llmtrain.planner.limits import VERSIONS

MEGATRON = "NVIDIA/Megatron-LM core_v0.19.0 megatron/training/arguments.py (validate_args)"
NCCL_DOCS = "NVIDIA/nccl@5067397 docs/userguide/source/env.rst"
CONNECTIONS = "CUDA_DEVICE_MAX_CONNECTIONS"
ALLOCATOR = ("PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF")


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """What decides about variables and is said elsewhere. False and empty: not that is known."""

    program: str = ""
    """megatron-lm, megatron-deepspeed, or empty."""
    line: int = 0
    """Where the program is started."""
    tp: int = 1
    """Tensor parallel."""
    cp: int = 1
    """Context parallel."""
    sequence: bool = False
    """Sequence parallel."""
    fsdp: bool = False
    """Torch-FSDP2 or Megatron-FSDP."""
    expert_overlap: bool = False
    """Communication of expert parallel overlaps."""
    user_buffers: bool = False
    """Gradients lie in NCCL's user buffers."""
    cuda_graphs: bool = False
    """Transformer Engine captures CUDA graphs."""
    deterministic: bool = False
    """The same bits each time."""
    blackwell: bool = False
    """The GPU is of that generation."""
    current: bool = True
    """All flags are those of today: older programs asserted less."""


Values = Mapping[str, Setting]
Rule = Callable[[Values, Facts], Iterator[Finding]]


def facts_of(document: Document) -> Facts:
    """What the command that a script starts says."""
    for script in document.scripts:
        program = find_program(script)
        if program is not None and program.name in ("megatron-lm", "megatron-deepspeed"):
            return facts_of_arguments(program.name, program.arguments, program.line)
    return Facts()


def facts_of_arguments(name: str, arguments: Sequence[str], line: int = 0) -> Facts:
    """What a command line says."""
    given = set(arguments)
    sharding = {"--use-torch-fsdp2", "--use-megatron-fsdp", "--use-custom-fsdp"}
    return Facts(
        program=name,
        line=line,
        tp=_degree(arguments, "--tensor-model-parallel-size"),
        cp=_degree(arguments, "--context-parallel-size"),
        sequence="--sequence-parallel" in given,
        fsdp=not sharding.isdisjoint(given),
        expert_overlap="--overlap-moe-expert-parallel-comm" in given,
        user_buffers=not {"--use-nccl-ub", "--nccl-ub"}.isdisjoint(given),
        cuda_graphs=_after(arguments, "--cuda-graph-impl") == "transformer_engine"
        or "--external-cuda-graph" in given,
        deterministic="--deterministic-mode" in given,
        current=_is_current(name, arguments),
    )


def _is_current(name: str, arguments: Sequence[str]) -> bool:
    """Whether some known version of the program has every flag."""
    flags = {word.partition("=")[0] for word in arguments if word.startswith("--")}
    versions = VERSIONS.get(name, ())
    tables = (read_flags(name, version).flags for version in versions)
    return not versions or any(flags <= table.keys() for table in tables)


def conflicts(settings: Sequence[Setting], facts: Facts) -> Iterator[Finding]:
    """Every rule that the settings break; of one variable the last setting counts."""
    values = {setting.name: setting for setting in settings}
    for rule in RULES:
        yield from rule(values, facts)


def connections(values: Values, facts: Facts) -> Iterator[Finding]:
    """CUDA_DEVICE_MAX_CONNECTIONS as Megatron asserts it, by layout and architecture."""
    told = values.get(CONNECTIONS)
    one = _is(values, CONNECTIONS, "1")
    if told is not None and one is None:
        return
    line = told.line if told else facts.line
    split = facts.tp > 1 or facts.cp > 1
    if facts.program == "megatron-deepspeed":
        if facts.sequence and not one:
            says = f"{CONNECTIONS} must be 1 with sequence parallel: Megatron-DeepSpeed stops else"
            source = "deepspeedai/Megatron-DeepSpeed@4efb479d megatron/arguments.py"
            yield _conflict(line, CONNECTIONS, says, "set it to 1", source)
    elif facts.program != "megatron-lm":
        return
    elif facts.fsdp and one:
        says = f"{CONNECTIONS}=1 with FSDP: Megatron-LM asserts that it is not 1"
        yield _conflict(line, CONNECTIONS, says, "leave it out, or more than 1", MEGATRON)
    elif split and not one and not (facts.fsdp or facts.expert_overlap or facts.blackwell):
        degree = f"tp {facts.tp}" if facts.tp > 1 else f"cp {facts.cp}"
        says = f"{CONNECTIONS} is not 1 with {degree}: Megatron-LM asserts it before Blackwell"
        found = _conflict(line, CONNECTIONS, says, f"export {CONNECTIONS}=1", MEGATRON)
        if told:
            yield found
        elif facts.current:
            yield _weaker(found)


def allocator(values: Values, facts: Facts) -> Iterator[Finding]:
    """Expandable segments with NCCL's user buffers, and with CUDA graphs."""
    name = next((n for n in ALLOCATOR if "expandable_segments:True" in _text(values, n)), None)
    if name is None:
        return
    line = values[name].line
    if facts.user_buffers:
        says = f"{name} with expandable segments and NCCL user buffers: their pool cannot have them"
        source = "NVIDIA/Megatron-LM megatron/core/distributed/distributed_data_parallel_config.py"
        yield _conflict(line, name, says, "leave expandable_segments out", source)
    if facts.cuda_graphs and _is(values, "NCCL_GRAPH_REGISTER", "0") is False:
        says = f"{name} with expandable segments and CUDA graphs needs NCCL_GRAPH_REGISTER=0"
        yield _conflict(line, name, says, "export NCCL_GRAPH_REGISTER=0", MEGATRON)


def allocator_names(values: Values, facts: Facts) -> Iterator[Finding]:
    """Both names of the allocator's options, with different ones."""
    old, new = (values.get(name) for name in ALLOCATOR)
    if old and new and old.value and new.value and old.value != new.value:
        says = f"{ALLOCATOR[0]} and {ALLOCATOR[1]} say different things; they are one option"
        yield _conflict(old.line, ALLOCATOR[0], says, "keep one", "pytorch c10/core")


def nvls(values: Values, facts: Facts) -> Iterator[Finding]:
    """NVLS needs cuMem."""
    if _is(values, "NCCL_NVLS_ENABLE", "1") and _is(values, "NCCL_CUMEM_ENABLE", "0"):
        says = "NCCL_NVLS_ENABLE=1 with NCCL_CUMEM_ENABLE=0: NVLS needs cuMem"
        line = values["NCCL_NVLS_ENABLE"].line
        yield _conflict(line, "NCCL_NVLS_ENABLE", says, "leave one of them out", NCCL_DOCS)


def network(values: Values, facts: Facts) -> Iterator[Finding]:
    """InfiniBand that is off and asked for; SHARP without a plugin."""
    if _is(values, "NCCL_IB_DISABLE", "1") and _text(values, "NCCL_NET").upper() == "IB":
        says = "NCCL_IB_DISABLE=1 with NCCL_NET=IB: there is no network left"
        line = values["NCCL_IB_DISABLE"].line
        yield _conflict(line, "NCCL_IB_DISABLE", says, "leave NCCL_IB_DISABLE out", NCCL_DOCS)
    if _is(values, "NCCL_COLLNET_ENABLE", "1") and _text(values, "NCCL_NET_PLUGIN") == "none":
        says = "NCCL_COLLNET_ENABLE=1 with NCCL_NET_PLUGIN=none: SHARP comes from the plugin"
        line = values["NCCL_COLLNET_ENABLE"].line
        yield _conflict(line, "NCCL_COLLNET_ENABLE", says, "leave one of them out", NCCL_DOCS)


def sockets(values: Values, facts: Facts) -> Iterator[Finding]:
    """Threads times sockets."""
    names = ("NCCL_SOCKET_NTHREADS", "NCCL_NSOCKS_PERTHREAD")
    threads, each = (number(_text(values, name)) for name in names)
    if threads and each and threads * each > 64:
        says = f"{' × '.join(names)} = {threads * each} is more than 64"
        yield _conflict(values[names[1]].line, names[1], says, "", NCCL_DOCS)


def blocks(values: Values, facts: Facts) -> Iterator[Finding]:
    """The least number of blocks above the largest."""
    low, high = (number(_text(values, name)) for name in ("NCCL_MIN_CTAS", "NCCL_MAX_CTAS"))
    if low and high and low > high:
        says = f"NCCL_MIN_CTAS={low} is more than NCCL_MAX_CTAS={high}"
        yield _conflict(values["NCCL_MIN_CTAS"].line, "NCCL_MIN_CTAS", says, "", NCCL_DOCS)


def determinism(values: Values, facts: Facts) -> Iterator[Finding]:
    """What ``--deterministic-mode`` asserts of the environment."""
    if not facts.deterministic:
        return
    if _is(values, "NVTE_ALLOW_NONDETERMINISTIC_ALGO", "0") is False:
        name = "NVTE_ALLOW_NONDETERMINISTIC_ALGO"
        says = f"{name} must be 0 with --deterministic-mode"
        line = values[name].line if name in values else facts.line
        yield _conflict(line, name, says, f"export {name}=0", MEGATRON)


def watchdogs(values: Values, facts: Facts) -> Iterator[Finding]:
    """An old name beside the new one with another value."""
    for new in ("TORCH_NCCL_ASYNC_ERROR_HANDLING", "TORCH_NCCL_BLOCKING_WAIT"):
        old = new.removeprefix("TORCH_")
        if old in values and new in values and _text(values, old) != _text(values, new):
            says = f"{old} and {new} say different things; they are one option"
            yield _conflict(values[old].line, old, says, f"keep {new}", "pytorch PR 114077")


RULES: tuple[Rule, ...] = (
    connections,
    allocator,
    allocator_names,
    nvls,
    network,
    sockets,
    blocks,
    determinism,
    watchdogs,
)
"""Every rule."""


def _conflict(line: int, name: str, says: str, hint: str, source: str) -> Finding:
    return Finding(
        code="conflict",
        severity="error",
        line=line,
        name=name,
        says=says,
        hint=hint,
        source=source,
    )


def _weaker(found: Finding) -> Finding:
    """A variable that the file does not set may come from elsewhere, such as the image."""
    return replace(found, severity="warning")


def _is(values: Values, name: str, value: str) -> bool | None:
    """Whether a variable has this value; None where only the run knows."""
    found = values.get(name)
    if found is None:
        return False
    return None if found.value is None else found.value == value


def _text(values: Values, name: str) -> str:
    found = values.get(name)
    return found.value or "" if found else ""


def _after(arguments: Sequence[str], flag: str) -> str:
    places = [i for i, word in enumerate(arguments[:-1]) if word == flag]
    return arguments[places[-1] + 1] if places else ""


def _degree(arguments: Sequence[str], flag: str) -> int:
    text = _after(arguments, flag)
    return int(text) if text.isdigit() else 1
