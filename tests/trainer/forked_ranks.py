"""Ranks of the reference trainer, forked from one process that has imported torch already.

Importing torch and megatron-core takes seconds for each rank, the runs of the tests a moment. This
process imports once; for each line of JSON on stdin, ``{"folder": …, "ranks": N, "program": …}``,
it forks N ranks, which run the program's ``main`` as under torchrun, and answers with their
statuses. With ``"kill": {"rank": …, "step": …, "part": …}`` a rank gets SIGKILL in the save of
that step.
"""

import gc
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path

from torch._C._distributed_c10d import TCPStore

SECONDS = 240.0
"""How long the ranks of a run may take; what hangs is killed."""

WARM = (
    "trainer.run",
    "trainer.device",
    "trainer.megatron_engine",
    "trainer.deepspeed.pipeline",
    "trainer.deepspeed.replicas",
    "trainer.__main__",
)
"""What every rank imports."""


def prepare() -> None:
    """Import what the ranks need, the stand-ins for CUDA first; a rank then finds them there."""
    without_cuda = import_module("llmtrain.trainer.without_cuda")
    without_cuda.install()
    vars(without_cuda)["install"] = lambda: None
    os.environ["DS_ACCELERATOR"] = "cpu"
    for name in WARM:
        import_module(f"llmtrain.{name}")
    import_module("torch.utils.tensorboard")
    # The first optimizer of a process would import it.
    import_module("torch._dynamo")
    # What is here is no rank's own: collections, and the count of a rank's tensors, pass it by.
    gc.freeze()


def fork_store() -> tuple[int, int]:
    """Start the store where the ranks of a run meet, as torchrun has one: process id and port.

    Its port comes from the kernel: one that was looked for may be taken before rank 0 listens.
    """
    told, tell = os.pipe()
    server = os.getpid()
    child = os.fork()
    if not child:
        store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
        os.write(tell, str(store.port).encode())
        os.close(tell)
        while os.getppid() == server:
            time.sleep(1)
        os._exit(0)
    os.close(tell)
    with open(told, encoding="ascii") as end:
        return child, int(end.read())


def fork_rank(program: str, folder: str, number: int, ranks: int, port: int) -> int:
    """Start one rank; its process id."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        os.environ |= {"RANK": str(number), "LOCAL_RANK": str(number), "WORLD_SIZE": str(ranks)}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        os.environ["TORCHELASTIC_USE_AGENT_STORE"] = "True"
        terminal = os.open(Path(folder) / "terminal", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(terminal, 1)
        os.dup2(terminal, 2)
        sys.argv = [program, folder]
        status = import_module(program).main()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        # Not by SystemExit: what torch leaves to the end of a process crashes after a fork.
        os._exit(status)


def kill(child: int, checkpoints: Path, step: int, part: float) -> None:
    """SIGKILL to a rank, in the save of ``step``.

    From the first file on, ``part`` of the time that the save of the step before has taken.
    """
    now = time.time()
    before = checkpoints / f"step-{step - 1:08d}"
    until_written(now, before.with_name(f"{before.name}.partial"), before)
    begun = time.monotonic()
    until_written(now, before)
    took = time.monotonic() - begun
    until_written(now, checkpoints / f"step-{step:08d}.partial", checkpoints / f"step-{step:08d}")
    time.sleep(part * took)
    os.kill(child, signal.SIGKILL)


def until_written(since: float, *folders: Path) -> None:
    """Wait for a file in one of ``folders``, which is newer than what a killed life has left."""
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        for folder in folders:
            with suppress(FileNotFoundError):
                if folder.stat().st_ctime > since and os.listdir(folder):
                    return
        time.sleep(0.0005)


def wait_for(children: Sequence[int]) -> list[int]:
    """The exit statuses; as torchrun does, what is left is ended when one fails."""
    statuses: dict[int, int] = {}
    until = time.monotonic() + SECONDS
    while len(statuses) < len(children):
        for child in set(children) - set(statuses):
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                statuses[child] = os.waitstatus_to_exitcode(status)
        if any(statuses.values()) or time.monotonic() > until:
            for child in set(children) - set(statuses):
                os.kill(child, signal.SIGKILL)
        time.sleep(0.01)
    return [statuses[child] for child in children]


def main() -> None:
    """Serve until stdin closes."""
    prepare()
    for line in sys.stdin:
        asked = json.loads(line)
        store, port = fork_store()
        children = [
            fork_rank(asked["program"], asked["folder"], number, asked["ranks"], port)
            for number in range(asked["ranks"])
        ]
        if asked["kill"]:
            moment = asked["kill"]
            checkpoints = Path(asked["folder"]) / "checkpoints"
            kill(children[moment["rank"]], checkpoints, moment["step"], moment["part"])
        statuses = wait_for(children)
        os.kill(store, signal.SIGKILL)
        os.waitpid(store, 0)
        print(json.dumps(statuses), flush=True)


if __name__ == "__main__":
    main()
