"""What was published of the models and layouts that ship."""

from dataclasses import dataclass
from functools import cache

from llmtrain.config.compose import compose
from llmtrain.config.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class Published:
    """What was published of a model and of the layout it ships with."""

    shape: tuple[int, int, int, int, int]
    """Layers, hidden, heads, heads of keys and values, feed-forward."""
    vocab: int
    """Padded, as the embedding had it."""
    seq: int
    """Tokens of a sequence."""
    form: tuple[str, str, str, bool, bool]
    """Activation, norm, positions, tied, biases."""
    layout: tuple[int, int, int, int, int, int, int]
    """GPUs, tp, pp, vpp, cp, ep, dp."""
    batch: tuple[int | None, int]
    """Micro-batch (None: unpublished) and global batch."""
    billions: float
    """Parameters."""
    within: float = 0.01
    """How far a count may be from them: round names are rounder than a percent."""


GPT = ("gelu", "layernorm", "learned", True, True)
LLAMA = ("swiglu", "rmsnorm", "rope", False, False)
GPT_530B = (105, 20480, 128, 128, 81920)
GPT_175B = (96, 12288, 96, 96, 49152)

# Sources are those of each recipe's file.
PUBLISHED = {
    "mt-nlg-530b": Published(
        shape=GPT_530B,
        vocab=51200,
        seq=2048,
        form=GPT,
        layout=(2240, 8, 35, 1, 1, 1, 8),
        batch=(1, 1920),
        billions=530,
    ),
    "gpt3-530b": Published(
        shape=GPT_530B,
        vocab=51200,
        seq=2048,
        form=GPT,
        layout=(2240, 8, 35, 3, 1, 1, 8),
        batch=(1, 2240),
        billions=529.6,
    ),
    "gpt3-1t": Published(
        shape=(128, 25600, 160, 160, 102400),
        vocab=51200,
        seq=2048,
        form=GPT,
        layout=(512, 8, 64, 1, 1, 1, 1),
        batch=(1, 512),
        billions=1008,
    ),
    "gpt3-126m": Published(
        shape=(12, 768, 12, 12, 3072),
        vocab=50304,
        seq=2048,
        form=GPT,
        layout=(64, 1, 1, 1, 1, 1, 64),
        batch=(4, 256),
        billions=0.126,
    ),
    "gpt3-5b": Published(
        shape=(24, 4096, 32, 32, 16384),
        vocab=50304,
        seq=2048,
        form=GPT,
        layout=(128, 1, 1, 1, 1, 1, 128),
        batch=(2, 2048),
        billions=5,
    ),
    "gpt3-20b": Published(
        shape=(44, 6144, 48, 48, 24576),
        vocab=50688,
        seq=2048,
        form=GPT,
        layout=(512, 4, 1, 1, 1, 1, 128),
        batch=(4, 2048),
        billions=20,
        within=0.015,
    ),
    "gpt3-40b": Published(
        shape=(48, 8192, 64, 64, 32768),
        vocab=50688,
        seq=2048,
        form=GPT,
        layout=(1024, 4, 2, 1, 1, 1, 128),
        batch=(2, 2048),
        billions=40,
        within=0.025,
    ),
    "gpt3-175b": Published(
        shape=GPT_175B,
        vocab=51200,
        seq=2048,
        form=GPT,
        layout=(1024, 8, 8, 1, 1, 1, 16),
        batch=(2, 2048),
        billions=175,
    ),
    "mlperf-gpt3-175b": Published(
        shape=GPT_175B,
        vocab=51200,
        seq=2048,
        form=("gelu", "layernorm1p", "learned", True, True),
        layout=(3584, 4, 8, 12, 1, 1, 112),
        batch=(1, 2688),
        billions=175,
    ),
    "opt-175b": Published(
        shape=GPT_175B,
        vocab=50272,
        seq=2048,
        form=("relu", "layernorm", "learned", True, True),
        layout=(992, 8, 1, 1, 1, 1, 124),
        batch=(8, 992),
        billions=175,
    ),
    "bloom-176b": Published(
        shape=(70, 14336, 112, 112, 57344),
        vocab=250880,
        seq=2048,
        form=("gelu", "layernorm", "alibi", True, True),
        layout=(384, 4, 12, 1, 1, 1, 8),
        batch=(2, 2048),
        billions=176.247271424,  # bigscience tr11-176B-ml, and its model card
        within=0,
    ),
    "glm-130b": Published(
        shape=(70, 12288, 96, 96, 32768),
        vocab=150528,
        seq=2048,
        form=("geglu", "deepnorm", "rope", True, True),
        layout=(768, 4, 8, 1, 1, 1, 24),
        batch=(None, 4224),
        billions=130,
        within=0.015,
    ),
    "llama-65b": Published(
        shape=(80, 8192, 64, 64, 22016),
        vocab=32000,
        seq=2048,
        form=LLAMA,
        layout=(1024, 4, 4, 20, 1, 1, 64),
        batch=(1, 2048),
        billions=65.2,
    ),
    "llama2-7b": Published(
        shape=(32, 4096, 32, 32, 11008),
        vocab=32000,
        seq=4096,
        form=LLAMA,
        layout=(128, 1, 1, 1, 1, 1, 128),
        batch=(1, 2048),
        billions=6.738415616,  # the published weights
        within=0,
    ),
    "llama2-13b": Published(
        shape=(40, 5120, 40, 40, 13824),
        vocab=32000,
        seq=4096,
        form=LLAMA,
        layout=(256, 1, 4, 10, 1, 1, 64),
        batch=(1, 2048),
        billions=13.015864320,  # the published weights
        within=0,
    ),
    "llama2-70b": Published(
        shape=(80, 8192, 64, 8, 28672),
        vocab=32000,
        seq=4096,
        form=LLAMA,
        layout=(1024, 4, 4, 5, 1, 1, 64),
        batch=(1, 2048),
        billions=68.976648192,  # the published weights
        within=0,
    ),
    "llama3-8b": Published(
        shape=(32, 4096, 32, 8, 14336),
        vocab=128256,
        seq=8192,
        form=LLAMA,
        layout=(128, 1, 1, 1, 2, 1, 64),
        batch=(1, 2048),
        billions=8.030261248,  # the published weights
        within=0,
    ),
    "llama3-70b": Published(
        shape=(80, 8192, 64, 8, 28672),
        vocab=128256,
        seq=8192,
        form=LLAMA,
        layout=(1024, 4, 4, 5, 2, 1, 32),
        batch=(1, 2048),
        billions=70.553706496,  # the published weights
        within=0,
    ),
    "llama3-405b": Published(
        shape=(126, 16384, 128, 8, 53248),
        vocab=128256,
        seq=8192,
        form=LLAMA,
        layout=(4608, 8, 9, 7, 2, 1, 32),
        batch=(1, 2016),
        billions=405.853388800,  # the published weights
        within=0,
    ),
    "nemotron4-340b": Published(
        shape=(96, 18432, 96, 8, 73728),
        vocab=256000,
        seq=4096,
        form=("relu2", "layernorm1p", "rope", False, False),
        layout=(6144, 8, 12, 8, 1, 1, 64),
        batch=(1, 2304),
        billions=340,
    ),
    "mixtral-8x7b": Published(
        shape=(32, 4096, 32, 8, 14336),
        vocab=32000,
        seq=4096,
        form=LLAMA,
        layout=(64, 1, 4, 8, 1, 8, 16),
        batch=(1, 256),
        billions=46.702792704,  # the published weights
        within=0,
    ),
    "deepseek-v3": Published(
        shape=(61, 7168, 128, 128, 18432),
        vocab=129280,
        seq=4096,
        form=LLAMA,
        layout=(2048, 1, 16, 1, 1, 64, 128),
        batch=(1, 15360),
        billions=671 + 14,  # 14 of MTP, which counts a copy of both embeddings
    ),
}


@cache
def recipe_of(name: str) -> Recipe:
    """A recipe that ships."""
    return compose([f"recipe={name}"])
