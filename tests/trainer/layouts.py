"""Layouts, engines and recompute that must not change the losses: a recipe's keys by case."""

from typing import Any

ADAM = {"lr": 3e-3}

DISTRIBUTED = ADAM | {"zero": 1, "overlap_grad_reduce": True, "overlap_param_gather": True}


def selective(*modules: str) -> dict[str, Any]:
    """Recompute of ``modules``."""
    return {"kind": "selective", "modules": modules}


DENSE: dict[str, dict[str, Any]] = {
    "tp 2": {"gpus": 2, "parallel": {"tp": 2}},
    "pp 2": {"gpus": 2, "parallel": {"pp": 2}},
    "dp 2": {"gpus": 2},
    "cp 2": {"gpus": 2, "parallel": {"cp": 2}},
    "tp 2, pp 2": {"gpus": 4, "parallel": {"tp": 2, "pp": 2}},
    "tp 2 with sequence parallel, dp 2, distributed optimizer": {
        "gpus": 4,
        "parallel": {"tp": 2, "sequence": True},
        "optim": DISTRIBUTED,
    },
    "pp 2, vpp 2": {"gpus": 2, "parallel": {"pp": 2, "vpp": 2}},
    "uneven pp 3": {"gpus": 3, "parallel": {"pp": 3, "layers_per_stage": [1, 2, 1]}},
    "full recompute": {"recompute": {"kind": "full", "layers": 2}},
    "recompute of the attention's core": {"recompute": selective("core_attn")},
    "recompute of norms and feed-forward": {"recompute": selective("layernorm", "mlp")},
}
"""Recipe keys that must not change the losses; each line a case, here of both dense shapes."""

OTHERS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("gpt", "dp 2, cp 2", {"gpus": 4, "parallel": {"cp": 2}, "optim": DISTRIBUTED}),
    (
        "gpt",
        "pp 2, vpp 2, dp 2, distributed optimizer",
        {"gpus": 4, "parallel": {"pp": 2, "vpp": 2}, "optim": DISTRIBUTED},
    ),
    (
        "gpt",
        "embedding and loss count as layers",
        {
            "gpus": 3,
            "parallel": {"pp": 3, "account_for_embedding": True, "account_for_loss": True},
        },
    ),
    (
        "gpt",
        "full recompute of one layer a chunk",
        {"recompute": {"kind": "full", "method": "block"}},
    ),
    ("geglu", "tp 2", {"gpus": 2, "parallel": {"tp": 2}}),
    ("relu", "tp 2", {"gpus": 2, "parallel": {"tp": 2}}),
    ("relu2", "tp 2", {"gpus": 2, "parallel": {"tp": 2}}),
    ("experts", "ep 2", {"gpus": 2, "parallel": {"ep": 2}}),
    (
        "experts",
        "ep 2, distributed optimizer",
        {"gpus": 2, "parallel": {"ep": 2}, "optim": DISTRIBUTED},
    ),
    ("experts", "ep 2, cp 2", {"gpus": 2, "parallel": {"ep": 2, "cp": 2}}),
    ("experts", "ep 2, pp 2", {"gpus": 4, "parallel": {"ep": 2, "pp": 2}}),
    ("experts", "tp 2, etp 2", {"gpus": 2, "parallel": {"tp": 2, "sequence": True}}),
    (
        "experts",
        "tp 2, ep 2",
        {"gpus": 2, "parallel": {"tp": 2, "sequence": True, "ep": 2, "etp": 1}},
    ),
    ("experts", "recompute of experts", {"recompute": selective("moe")}),
    (
        "experts",
        "recompute of the rest",
        {"recompute": selective("layernorm", "mlp", "shared_experts")},
    ),
    ("deepseek", "tp 2", {"gpus": 2, "parallel": {"tp": 2, "sequence": True}}),
    ("deepseek", "cp 2", {"gpus": 2, "parallel": {"cp": 2}}),
    ("deepseek", "pp 2, vpp 2", {"gpus": 2, "parallel": {"pp": 2, "vpp": 2}}),
    (
        "deepseek",
        "prediction alone",
        {"gpus": 2, "parallel": {"pp": 2, "layers_per_stage": [4, 0]}},
    ),
    ("deepseek", "unfused attention", {"kernels": {"attention": "unfused"}}),
    ("deepseek", "recompute", {"recompute": selective("mla_up_proj", "layernorm", "core_attn")}),
)
"""Shape, name and keys of the others."""

BOTH = {"name": "megatron-core+deepspeed"}

PLAIN = {"name": "deepspeed"}


def zero(stage: int, **more: Any) -> dict[str, Any]:
    """ZeRO by DeepSpeed."""
    return ADAM | {"zero": stage} | more


DEEPSPEED: tuple[tuple[str, str, dict[str, Any]], ...] = (
    *(
        (
            shape,
            f"tp 2, dp 2, ZeRO-{stage}",
            {"gpus": 4, "backend": BOTH, "parallel": {"tp": 2}, "optim": zero(stage)},
        )
        for shape in ("gpt", "llama")
        for stage in (1, 2, 3)
    ),
    *(
        (shape, f"dp 2, ZeRO-{stage}", {"gpus": 2, "backend": PLAIN, "optim": zero(stage)})
        for shape in ("gpt", "llama")
        for stage in (0, 1, 2, 3)
    ),
    *(
        (
            shape,
            f"dp 2, ZeRO-{stage}, offload",
            {"gpus": 2, "backend": PLAIN, "optim": zero(stage, offload=True)},
        )
        for shape in ("gpt", "llama")
        for stage in (1, 2, 3)
    ),
    (
        "llama",
        "tp 2 with sequence parallel, dp 2, ZeRO-2",
        {"gpus": 4, "backend": BOTH, "parallel": {"tp": 2, "sequence": True}, "optim": zero(2)},
    ),
    ("llama", "pp 2", {"gpus": 2, "backend": PLAIN, "parallel": {"pp": 2}}),
    ("gpt", "pp 2", {"gpus": 2, "backend": PLAIN, "parallel": {"pp": 2}, "optim": zero(1)}),
    *(
        (
            shape,
            "pp 2, dp 2, ZeRO-1",
            {"gpus": 4, "backend": PLAIN, "parallel": {"pp": 2}, "optim": zero(1)},
        )
        for shape in ("gpt", "llama")
    ),
    (
        "gpt",
        "tp 2 with sequence parallel, pp 2, ZeRO-1",
        {
            "gpus": 4,
            "backend": BOTH,
            "parallel": {"tp": 2, "sequence": True, "pp": 2},
            "optim": zero(1),
        },
    ),
    (
        "llama",
        "uneven pp 3, full recompute",
        {
            "gpus": 3,
            "backend": BOTH,
            "parallel": {"pp": 3, "layers_per_stage": [1, 2, 1]},
            "recompute": {"kind": "full"},
        },
    ),
    (
        "llama",
        "full recompute, ZeRO-3",
        {"gpus": 2, "backend": PLAIN, "optim": zero(3), "recompute": {"kind": "full"}},
    ),
    (
        "gpt",
        "recompute of parts, ZeRO-3",
        {
            "gpus": 2,
            "backend": PLAIN,
            "optim": zero(3),
            "recompute": selective("core_attn", "layernorm", "mlp"),
        },
    ),
    ("experts", "dp 2, ZeRO-3", {"gpus": 2, "backend": PLAIN, "optim": zero(3)}),
    ("experts", "pp 2", {"gpus": 2, "backend": PLAIN, "parallel": {"pp": 2}, "optim": zero(1)}),
    *(
        (
            "experts",
            f"ep 2, dp 4, ZeRO-{stage}",
            {"gpus": 4, "backend": BOTH, "parallel": {"ep": 2}, "optim": zero(stage)},
        )
        for stage in (0, 3)
    ),
    (
        "experts",
        "ep 2, pp 2, ZeRO-1",
        {"gpus": 4, "backend": BOTH, "parallel": {"ep": 2, "pp": 2}, "optim": zero(1)},
    ),
    (
        "experts",
        "ep 2, tp 2, ZeRO-1",
        {
            "gpus": 4,
            "backend": BOTH,
            "parallel": {"ep": 2, "tp": 2, "sequence": True},
            "optim": zero(1),
        },
    ),
    ("deepseek", "dp 2, ZeRO-2", {"gpus": 2, "backend": PLAIN, "optim": zero(2)}),
)
"""The same by DeepSpeed."""

CASES = (
    *((shape, name, keys) for name, keys in DENSE.items() for shape in ("gpt", "llama")),
    *OTHERS,
    *((shape, f"DeepSpeed: {name}", keys) for shape, name, keys in DEEPSPEED),
)
