"""How long an operator takes on a GPU: products by shape, attention by kernel, passes by bytes.

A product is cut into output tiles that the multiprocessors work off in waves (NVIDIA, "Matrix
Multiplication Background User's Guide", tile and wave quantization); each tile pays a prologue and
an epilogue besides its k steps. The curves are data (``data/gpus``).
"""

from dataclasses import dataclass

from llmtrain.config.place import Gpu
from llmtrain.planner.curves import Curves, Rate
from llmtrain.planner.numeric import Quantity, choose, largest, rounded_up, smallest
from llmtrain.planner.operators import Core, Gemm
from llmtrain.planner.stacks import Stack

NUMBER_BYTES = {"fp8": 1.0, "bf16": 2.0, "fp16": 2.0, "tf32": 4.0, "fp32": 4.0}
"""Bytes of an element of a product."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """One GPU with a stack on it."""

    gpu: Gpu
    """Its peaks."""
    curves: Curves
    """What is reached of them."""
    stack: Stack
    """Which kernels run."""
    numbers: str
    """Of the layers' products: fp8, bf16, fp16, tf32 or fp32."""
    attention: str
    """The attention kernel."""
    grad_bytes: float = 4.0
    """Bytes of a gradient that is kept."""
    gathered_bytes: float = 2.0
    """Bytes of a product's weight that is gathered from the replicas."""
    block_scales: bool = False
    """FP8 with a scale for each block (blockwise, MXFP8)."""
    offload: bool = False
    """The optimizer's states live in host memory, and the host updates them."""

    def numbers_of(self, gemm: Gemm) -> str:
        """In which numbers ``gemm`` is computed."""
        return "bf16" if self.numbers == "fp8" and gemm.numbers != "matmul" else self.numbers

    @property
    def clock(self) -> float:
        """What the board makes of its peak: boards of one silicon reach what power lets them reach,
        not what their data sheets say."""
        curves, gpu = self.curves, self.gpu
        speed = curves.boards.get(gpu.name)
        if speed is None or not gpu.bf16_tflops:
            return 1.0
        return speed * curves.boards_tflops / gpu.bf16_tflops

    @property
    def accumulate(self) -> float:
        """Bytes a parameter that summing gradients costs a micro-batch."""
        stack = self.stack
        return stack.accumulate if self.grad_bytes > 2.0 else stack.accumulate_half

    @property
    def memory_rate(self) -> float:
        """Bytes a second that a long pass reaches."""
        return (self.gpu.memory_gb_per_s or 1.0) * 1e9 * self.curves.memory.top


def peak_flops(gpu: Gpu, numbers: str) -> float:
    """Operations a second of the data sheet."""
    by_numbers = {
        "fp8": gpu.fp8_tflops,
        "bf16": gpu.bf16_tflops,
        "fp16": gpu.bf16_tflops,
        "tf32": gpu.tf32_tflops,
        "fp32": gpu.fp32_tflops,
    }
    return (by_numbers[numbers] or gpu.bf16_tflops or 0.0) * 1e12


def product_seconds(
    machine: Machine, m: Quantity, n: Quantity, k: Quantity, count: Quantity, numbers: str
) -> Quantity:
    """``count`` products m x k by k x n: tiles in waves, or the bytes where these take longer."""
    curves = machine.curves
    rate = peak_flops(machine.gpu, numbers) * curves.gemm[numbers] * machine.clock / curves.sms
    depth = k + curves.depth[numbers]
    best: Quantity = float("inf")
    for tile in curves.tiles:
        tiles = rounded_up(m / tile.rows) * rounded_up(n / tile.columns) * count
        waves = tiles / curves.sms
        full = rounded_up(waves)
        used = full - curves.smooth * (full - largest(waves, 1.0))
        time = used * (2.0 * tile.rows * tile.columns * depth) / (rate * tile.relative)
        best = smallest(best, time)
    moved = (m * k + k * n + m * n) * count * NUMBER_BYTES[numbers]
    return largest(best * _alignment(curves, n, k), moved / machine.memory_rate)


def _alignment(curves: Curves, n: Quantity, k: Quantity) -> Quantity:
    """Rows of a matrix that do not begin on 128 bytes are loaded in more pieces.

    Source: NVIDIA Matrix Multiplication Background User's Guide, section 4 (A100: multiples of
    64 16-bit numbers); the worse of both matrices counts.
    """
    odd = (n % 64 > 0) | (k % 64 > 0)
    very_odd = (n % 8 > 0) | (k % 8 > 0)
    return choose(very_odd, 2.0 * curves.misaligned, choose(odd, curves.misaligned, 1.0))


def gemm_forward(machine: Machine, gemm: Gemm) -> Quantity:
    """Seconds of the forward product, casts to FP8 included."""
    numbers = machine.numbers_of(gemm)
    time = product_seconds(machine, gemm.m, gemm.n, gemm.k, gemm.count, numbers)
    return time + _cast(machine, numbers, gemm.m * gemm.k * gemm.count, normed=gemm.normed)


def gemm_backward(machine: Machine, gemm: Gemm) -> Quantity:
    """Seconds of both backward products, casts and the sum of the gradients included."""
    numbers = machine.numbers_of(gemm)
    inputs = product_seconds(machine, gemm.m, gemm.k, gemm.n, gemm.count, numbers)
    weights = product_seconds(machine, gemm.k, gemm.n, gemm.m, gemm.count, numbers)
    summed = gemm.weights * machine.accumulate / machine.memory_rate
    return inputs + weights + summed + _cast(machine, numbers, gemm.m * gemm.n * gemm.count)


def _cast(machine: Machine, numbers: str, elements: Quantity, *, normed: bool = False) -> Quantity:
    if numbers != "fp8":
        return 0.0
    stack = machine.stack
    each = stack.cast_blocks if machine.block_scales else stack.cast
    each *= stack.cast_normed if normed else 1.0
    return elements * each / machine.memory_rate


def core_forward(machine: Machine, core: Core) -> Quantity:
    """Seconds of the attention core, forward."""
    if machine.attention == "unfused":
        return _unfused(machine, core, 1.0)
    kernel = machine.curves.attention[machine.attention]
    return 0.5 * core.flops / _core_rate(machine, core, kernel.forward, kernel.narrow)


def core_backward(machine: Machine, core: Core) -> Quantity:
    """Seconds of the attention core, backward: 5 products for the forward pass's 2."""
    if machine.attention == "unfused":
        return _unfused(machine, core, 2.0)
    kernel = machine.curves.attention[machine.attention]
    return 2.5 * 0.5 * core.flops / _core_rate(machine, core, kernel.backward, kernel.narrow)


def _core_rate(machine: Machine, core: Core, speed: Rate, narrow: float) -> Quantity:
    """FLOP/s by tokens and head width; between 64 and 128 the width counts in proportion."""
    width = min(1.0, max(0.0, (core.key_dim - 64) / 64))
    at = speed.top * core.queries / (core.queries + speed.half)
    rate = machine.clock * (machine.stack.dropped if core.dropout else 1.0)
    return rate * at * (narrow + (1.0 - narrow) * width) * 1e12


def _unfused(machine: Machine, core: Core, times: float) -> Quantity:
    """Two batched products and the passes over the attention matrix (mask, softmax, dropout)."""
    numbers = "bf16" if machine.numbers == "fp8" else machine.numbers
    scores = product_seconds(
        machine, core.queries, core.keys, float(core.key_dim), core.batch, numbers
    )
    context = product_seconds(
        machine, core.queries, float(core.value_dim), core.keys, core.batch, numbers
    )
    softmax = machine.stack.passes["softmax"]
    moved = core.pairs * (softmax.forward if times == 1.0 else softmax.backward)
    return times * (scores + context) + pass_seconds(machine, moved)


def pass_seconds(machine: Machine, moved: Quantity) -> Quantity:
    """Seconds of a memory-bound pass over ``moved`` bytes."""
    return (moved + choose(moved > 0, machine.curves.memory.half, 0.0)) / machine.memory_rate
