"""A program of its own: imports torch and megatron-core once, then forks the ranks of each trial.

A rank is then ready in a tenth of a second, not in many; it is a process of its own that runs the
trainer's ``main``, and meets the others as torchrun's ranks do. Reads lines of JSON
``{"folder": …, "ranks": …}``, answers each with the exit statuses of the ranks.
"""
# The stand-ins for CUDA must be in place before megatron-core is imported.
# ruff: noqa: E402

import json
import os
import signal
import socket
import sys
import traceback
import warnings

warnings.filterwarnings("ignore")

from llmtrain.trainer import without_cuda

without_cuda.install()


from llmtrain.trainer.__main__ import main


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def fork(folder: str, rank: int, ranks: int, port: int) -> int:
    """Start one rank; its process id."""
    child = os.fork()
    if child:
        return child
    status = 70
    try:
        # The answers are this program's own; what a rank says goes to its log.
        os.dup2(2, 1)
        os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(ranks)}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        sys.argv = ["llmtrain.trainer", folder]
        status = main()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def run(folder: str, ranks: int) -> list[int]:
    """Exit statuses of all ranks; when one fails the others, who wait for it, are ended."""
    port = free_port()
    alive = {fork(folder, rank, ranks, port) for rank in range(ranks)}
    statuses = []
    while alive:
        child, status = os.wait()
        alive.discard(child)
        statuses.append(os.waitstatus_to_exitcode(status))
        if statuses[-1]:
            for other in alive:
                os.kill(other, signal.SIGKILL)
    return statuses


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(run(**json.loads(line))), flush=True)
