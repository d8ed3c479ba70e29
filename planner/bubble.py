"""The pipeline's bubble in closed form; a test holds it against a simulation of the schedule."""

from llmtrain.planner.numeric import Quantity, largest


def bubble_seconds(slowest: Quantity, total: Quantity, chunks: Quantity) -> Quantity:
    """Idle time of the slowest stage in a step, hops left out.

    Before and behind its own work lies one chunk's pass of every other stage. With even stages
    this is the (p - 1) / (v m) of arXiv 2104.04473, section 2.2.2.

    Args:
        slowest: seconds of the slowest stage, forward and backward, a micro-batch.
        total: the same of all stages together.
        chunks: of a stage.
    """
    return largest(total - slowest, 0.0) / chunks
