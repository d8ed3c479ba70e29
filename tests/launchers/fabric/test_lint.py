"""The linter: finds what it should, and is silent on what is right."""

from collections.abc import Callable

import pytest

from llmtrain.launchers.fabric.conflicts import Facts
from llmtrain.launchers.fabric.findings import Finding
from llmtrain.launchers.fabric.lint import Version, lint
from llmtrain.launchers.fabric.of_recipe import lint_recipe
from llmtrain.launchers.launch import Launch
from llmtrain.launchers.scripts.document import read_document
from llmtrain.planner.plan import Plan


def found(text: str, name: str = "job.sh", **more: object) -> tuple[Finding, ...]:
    """The findings in a file."""
    return lint(read_document(text, name), **more)  # type: ignore[arg-type]


def codes(text: str) -> list[tuple[int, str, str, str]]:
    """Line, severity, code and name of each."""
    return [(each.line, each.severity, each.code, each.name) for each in found(text)]


ONE = [
    ("export NCCL_IB_TIMEOUT=100", "error", "range"),
    ("export NCCL_IB_TIMEOUT=0", "error", "range"),
    ("export NCCL_IB_RETRY_CNT=14", "error", "range"),
    ("export NCCL_IB_DISABLE=true", "error", "range"),
    ("export NCCL_DEBUG=WARNING", "error", "range"),
    ("export NCCL_IB_TIMEOUTS=22", "error", "misspelt"),
    ("export NCCL_NCHANNELS_PER_PEER=4", "error", "misspelt"),
    ("export NCCL_SOCKET_TIMEOUT=60", "error", "misspelt"),
    ("export TORCH_NCCL_HIGH_PRIORTY=1", "error", "misspelt"),
    ("export CUDA_DEVICE_MAX_CONNECTION=1", "error", "misspelt"),
    ("export NCCL_QWERTZ=1", "warning", "unknown"),
    ("export NCCL_TREE_THRESHOLD=0", "warning", "obsolete"),
    ("export NCCL_ASYNC_ERROR_HANDLING=1", "warning", "obsolete"),
    ("export NCCL_MIN_NCHANNELS=4", "warning", "obsolete"),
    ("export OFI_NCCL_ROUND_ROBIN_THRESHOLD=1", "warning", "obsolete"),
    ("export NCCL_IB_DISABLE=1", "warning", "debug"),
    ("export NCCL_DEBUG=INFO", "warning", "debug"),
    ("export NCCL_P2P_DISABLE=1", "warning", "debug"),
    ("export CUDA_LAUNCH_BLOCKING=1", "warning", "debug"),
    ("export TORCH_DISTRIBUTED_DEBUG=detail", "warning", "debug"),
    ("export TORCH_NCCL_BLOCKING_WAIT=1", "warning", "harmful"),
    ("NCCL_IB_QPS_PER_CONNECTION=4", "warning", "not_exported"),
    ("export NCCL_IB_HCA=mlx5_0,mlx5_1", "note", "trap"),
    ("export FI_PROVIDER=efa", "note", "stale"),
]


@pytest.mark.parametrize(("line", "severity", "code"), ONE)
def test_what_a_line_alone_can_tell(line: str, severity: str, code: str) -> None:
    """Severity and kind."""
    assert [(f.line, f.severity, f.code) for f in found(f"#!/bin/bash\n{line}\nrun\n")] == [
        (2, severity, code)
    ]


CLEAN = [
    "export NCCL_IB_TIMEOUT=22 NCCL_IB_RETRY_CNT=7 NCCL_DEBUG=WARN",
    "export NCCL_IB_HCA==mlx5_0,mlx5_1",
    "export NCCL_IB_HCA=mlx5",
    "export NCCL_SOCKET_IFNAME=^docker,lo",
    "export NCCL_IB_TIMEOUT=$MINE",
    "export OFI_NCCL_PROTOCOL=RDMA FI_EFA_USE_HUGE_PAGE=0",
    "export NCCL_FASTRAK_CTRL_DEV=eth0 NCCL_FASTRAK_SOMETHING_NEW=1",
    "export NCCL_GPUDIRECTTCPX_TX_BINDINGS=eth1:8-21",
    "export NCCL_SHARP_MAX_COMMS=2 SHARP_COLL_ENABLE_SAT=1 NCCL_COLLNET_ENABLE=1",
    "export UCX_TLS=rc UCX_SOMETHING_ELSE=1",
    "export PATH=/a/b:$PATH LD_LIBRARY_PATH=/opt/nccl/lib",
    "NCCL_TESTS_HOME=/opt/nccl-tests\n$NCCL_TESTS_HOME/build/all_reduce_perf",
    "NCCL_TIMEOUT=1800\npython train.py --timeout $NCCL_TIMEOUT",
    "NCCL_DEBUG=WARN python train.py",
    "export NCCL_DEBUG=INFO\nmpirun -np 16 ./all_reduce_perf -b 8 -e 8G",
    "export FI_PROVIDER=mlx\nmpirun -np 16 ./a.out",
    "export NCCL_IB_DISABLE=1 OFI_NCCL_PROTOCOL=RDMA",
    "export NCCL_IB_DISABLE=1\ntorchrun --nnodes 1 --nproc-per-node 8 train.py --x",
    "export MCCL_NET_GDR_LEVEL=2",
    "HSA_NO_SCRATCH_RECLAIM=1\nexport NCCL_MIN_NCHANNELS=112 RCCL_X=1 NCCL_OF_RCCL_ALONE=1",
    'echo "export NCCL_DEBUG=INFO"',
    "# export NCCL_DEBUG=INFO",
]


@pytest.mark.parametrize("text", CLEAN)
def test_silence_on_what_is_right(text: str) -> None:
    """Plugins' names, other families, values to come, AMD's library, comments."""
    assert [each.says for each in found(f"#!/bin/bash\n{text}\n")] == []


CURRENT = ["gpt3-530b", "mt-nlg-530b", "llama3-405b", "mixtral-8x7b", "mlperf-gpt3-175b"]


@pytest.mark.parametrize("recipe", CURRENT)
def test_our_own_scripts_are_clean(
    launch_of: Callable[..., Launch], plan_of: Callable[..., Plan], recipe: str
) -> None:
    """What is rendered has nothing wrong with it, read as a file or as a recipe."""
    launch = launch_of(f"recipe={recipe}", "backend.path=/opt/megatron")

    assert [each.says for each in found(launch.files[launch.script])] == []
    assert lint_recipe(plan_of(f"recipe={recipe}")) == ()


def test_versions_of_nccl() -> None:
    """Obsolete from a release on, unknown before another."""
    text = "export NCCL_WORK_FIFO_DEPTH=64 NCCL_WIN_ENABLE=1"
    by_version = {
        version: sorted(each.code for each in found(text, nccl=Version.parse(version)))
        for version in ("2.21.5", "2.22.3", "2.27.3")
    }

    assert by_version == {
        "2.21.5": ["too_new"],
        "2.22.3": ["obsolete", "too_new"],
        "2.27.3": ["obsolete"],
    }


ML = "torchrun pretrain_gpt.py --num-layers 4 --hidden-size 8 "
CONFLICTS = [
    ("export CUDA_DEVICE_MAX_CONNECTIONS=32", "--tensor-model-parallel-size 2", "error"),
    ("export CUDA_DEVICE_MAX_CONNECTIONS=1", "--tensor-model-parallel-size 2", None),
    ("export X=1", "--context-parallel-size 2", "warning"),
    ("export X=1", "--tensor-model-parallel-size 1", None),
    ("export CUDA_DEVICE_MAX_CONNECTIONS=1", "--use-megatron-fsdp", "error"),
    (
        "export CUDA_DEVICE_MAX_CONNECTIONS=32",
        "--tensor-model-parallel-size 2 --overlap-moe-expert-parallel-comm",
        None,
    ),
    ("export PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True", "--use-nccl-ub", "error"),
    (
        "export PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True",
        "--cuda-graph-impl transformer_engine",
        "error",
    ),
    (
        "export PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True NCCL_GRAPH_REGISTER=0",
        "--cuda-graph-impl transformer_engine",
        None,
    ),
    ("export NCCL_NVLS_ENABLE=1 NCCL_CUMEM_ENABLE=1", "--bf16", None),
    ("export NVTE_ALLOW_NONDETERMINISTIC_ALGO=1", "--deterministic-mode", "error"),
]


@pytest.mark.parametrize(("setting", "flags", "severity"), CONFLICTS)
def test_conflicts_with_the_programs_arguments(
    setting: str, flags: str, severity: str | None
) -> None:
    """What Megatron-LM asserts of the environment, by what it is started with."""
    seen = [f.severity for f in found(f"{setting}\n{ML}{flags}\n") if f.code == "conflict"]

    assert seen == ([severity] if severity else [])


def test_older_programs_assert_less() -> None:
    """A flag that no known version has: the program is not one whose assertions are known."""
    assert found(f"{ML}--tensor-model-parallel-size 2 --DDP-impl local\n") == ()


@pytest.mark.parametrize(
    "text",
    [
        "NCCL_NVLS_ENABLE=1\nNCCL_CUMEM_ENABLE=0",
        "NCCL_IB_DISABLE=1\nNCCL_NET=IB",
        "NCCL_COLLNET_ENABLE=1\nNCCL_NET_PLUGIN=none",
        "NCCL_SOCKET_NTHREADS=16\nNCCL_NSOCKS_PERTHREAD=8",
        "NCCL_MIN_CTAS=32\nNCCL_MAX_CTAS=16",
        "PYTORCH_ALLOC_CONF=a:1\nPYTORCH_CUDA_ALLOC_CONF=a:2",
        "NCCL_ASYNC_ERROR_HANDLING=1\nTORCH_NCCL_ASYNC_ERROR_HANDLING=3",
    ],
)
def test_conflicts_between_variables(text: str) -> None:
    """Two that cannot both be meant."""
    assert [f.code for f in found(text + "\n")].count("conflict") == 1


PYXIS = "export NCCL_DEBUG=WARN\nsrun --container-image=a.sqsh {} python train.py --x\n"


def test_pyxis_without_container_env() -> None:
    """One finding for the command; none where the names are listed, or no container is."""
    assert codes(PYXIS.format("")) == [(2, "warning", "not_forwarded", "NCCL_DEBUG")]
    assert codes(PYXIS.format("--container-env=NCCL_DEBUG")) == []
    assert codes("export NCCL_DEBUG=WARN\nsrun python train.py --x\n") == []


def test_deepspeeds_own_launcher() -> None:
    """pdsh hands on NCCL and UCX names, not CUDA's or torch's; on one node there is no pdsh."""
    text = "export NCCL_DEBUG=WARN CUDA_DEVICE_MAX_CONNECTIONS=1\ndeepspeed {} train.py --x\n"
    lost = [(2, "warning", "not_forwarded", "CUDA_DEVICE_MAX_CONNECTIONS")]

    assert codes(text.format("--hostfile hosts")) == lost
    assert codes(text.format("--num_nodes=4 --num_gpus 8")) == lost
    assert codes(text.format("--num_gpus 8")) == []
    assert codes(text.format("--hostfile hosts --launcher openmpi")) == []
    assert codes("export CUDA_DEVICE_MAX_CONNECTIONS=1\ntorchrun train.py --x\n") == []


def test_srun_with_a_list_of_exports() -> None:
    """Without ALL only the list goes on."""
    text = "export NCCL_DEBUG=WARN UCX_TLS=rc\nsrun --export={} python train.py --x\n"

    assert codes(text.format("PATH,UCX_TLS")) == [(2, "warning", "not_forwarded", "NCCL_DEBUG")]
    assert codes(text.format("ALL")) == []


def test_a_recipe_against_its_own_plan(plan_of: Callable[..., Plan]) -> None:
    """What site and recipe set is checked; what the cluster's data sets has its reasons."""
    plan = plan_of("recipe=gpt3-530b", "+env.CUDA_DEVICE_MAX_CONNECTIONS=8", "+site.env.NCCL_ALG=x")
    shown = [(each.severity, each.code, each.name) for each in lint_recipe(plan)]

    assert shown == [
        ("error", "conflict", "CUDA_DEVICE_MAX_CONNECTIONS"),
        ("error", "misspelt", "NCCL_ALG"),
    ]


def test_blackwell_asserts_nothing() -> None:
    """The facts of a plan say more than a script does."""
    document = read_document("export CUDA_DEVICE_MAX_CONNECTIONS=32\n", "a.env")
    told = Facts(program="megatron-lm", tp=8)

    assert [each.code for each in lint(document, facts=told)] == ["conflict"]
    assert lint(document, facts=Facts(program="megatron-lm", tp=8, blackwell=True)) == ()
