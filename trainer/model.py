"""The recipe's model as megatron-core modules: one stage of it on each rank."""

import torch
from megatron.core.models.gpt import GPTModel
from megatron.core.tensor_parallel import vocab_parallel_cross_entropy
from megatron.core.transformer.transformer_config import TransformerConfig

from llmtrain.config.recipe import Recipe
from llmtrain.trainer import even_counts
from llmtrain.trainer.device import Device
from llmtrain.trainer.groups import Position
from llmtrain.trainer.layers import block, prediction
from llmtrain.trainer.megatron_config import transformer_config

POSITIONS = {"learned": "learned_absolute", "rope": "rope", "none": "none"}
"""Ours to megatron-core's names."""


def build(recipe: Recipe, position: Position, device: Device) -> list["Gpt"]:
    """This rank's chunks in the order of the pipeline, their weights not yet set."""
    config = transformer_config(recipe, device)
    if recipe.model.mtp and position.cp_size > 1:
        even_counts.install()
    chunks = range(recipe.parallel.vpp)
    parts = [_chunk(recipe, position, device, config, chunk) for chunk in chunks]
    return [part.to(device.torch) for part in parts]


def outline(recipe: Recipe, position: Position, device: Device) -> "Gpt":
    """The one chunk of a rank without stages, its parameters on torch's meta device.

    Transformer Engine's modules are told by megatron-core; the others take the device they find.
    """
    config = transformer_config(recipe, device)
    if device.transformer_engine:
        config.init_model_with_meta_device = True
        return _chunk(recipe, position, device, config, 0)
    config.use_cpu_initialization = True
    with torch.device("meta"):
        return _chunk(recipe, position, device, config, 0)


def _chunk(
    recipe: Recipe, position: Position, device: Device, config: TransformerConfig, chunk: int
) -> "Gpt":
    model, vpp = recipe.model, recipe.parallel.vpp
    ends = position.last_stage and chunk == vpp - 1
    virtual = chunk if vpp > 1 else None
    part = Gpt(
        config,
        block(recipe, device, config, position.pp, chunk),
        vocab_size=model.padded_vocab(position.tp_size),
        max_sequence_length=model.seq,
        pre_process=position.first_stage and chunk == 0,
        post_process=ends,
        parallel_output=True,
        share_embeddings_and_output_weights=model.tied,
        position_embedding_type=POSITIONS[model.positions],
        rotary_percent=model.rope_fraction,
        rotary_base=model.rope_base,
        mtp_block_spec=prediction(recipe, device, config, virtual) if ends else None,
        vp_stage=virtual,
    )
    part.hide_padding(model.vocab, position.tp)
    return part


class Gpt(GPTModel):
    """megatron-core's GPTModel, whose loss does not see the padded end of the vocabulary."""

    def hide_padding(self, vocab: int, tp_rank: int) -> None:
        """Remember how many of this rank's rows, from the first, are real tokens."""
        ranks = self.config.tensor_model_parallel_size
        self.real_rows = real_rows(vocab, self.vocab_size, tp_rank, ranks)

    def compute_language_model_loss(
        self, labels: torch.Tensor, logits: torch.Tensor
    ) -> torch.Tensor:
        """Loss of every token in nats, shape (b, s), from logits (s, b, padded vocab / tp)."""
        return token_losses(logits, labels, self.real_rows)


def real_rows(vocab: int, padded: int, rank: int, ranks: int) -> int:
    """How many of a tensor parallel rank's rows of the vocabulary are tokens, not padding."""
    rows = padded // ranks
    return min(max(vocab - rank * rows, 0), rows)


def token_losses(logits: torch.Tensor, labels: torch.Tensor, real: int) -> torch.Tensor:
    """Loss of every token in nats, shape (b, s), from logits (s, b, padded vocab / tp).

    A padded entry has probability zero, so the loss is the same however much padding the tensor
    parallel size asks for. ``labels`` are (b, s).
    """
    if real < logits.shape[-1]:
        logits = logits.clone()
        logits[..., real:] = float("-inf")
    by_place = labels.transpose(0, 1).contiguous()
    losses: torch.Tensor = vocab_parallel_cross_entropy(logits.float(), by_place)
    return losses.transpose(0, 1).contiguous()
