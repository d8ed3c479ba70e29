"""megatron-core's layers as the layers of DeepSpeed's ``PipelineModule``."""

from collections.abc import Iterator
from typing import Any

import torch
from deepspeed.pipe import LayerSpec, PipelineModule, TiedLayerSpec
from deepspeed.runtime.pipe.topology import PipeModelDataParallelTopology
from megatron.core import tensor_parallel
from megatron.core.models.common.embeddings.rotary_pos_embedding import RotaryEmbedding
from megatron.core.tensor_parallel import ColumnParallelLinear, VocabParallelEmbedding
from megatron.core.transformer.transformer_config import TransformerConfig
from megatron.core.transformer.transformer_layer import (
    TransformerLayer,
    get_transformer_layer_offset,
)

from llmtrain.config.layout import chunk_layers
from llmtrain.config.recipe import Recipe
from llmtrain.trainer.device import Device
from llmtrain.trainer.groups import Position
from llmtrain.trainer.layers import every_layer, norm
from llmtrain.trainer.megatron_config import transformer_config
from llmtrain.trainer.model import real_rows, token_losses
from llmtrain.trainer.weights import expert_name, first_expert

TIED = "words"
"""What DeepSpeed calls the rows that the first and the last stage share."""


class Stages(PipelineModule):
    """The model as DeepSpeed sees it: one layer after the other, each handing on one tensor.

    Tokens (micro, seq) -> hidden (seq / tp under sequence parallel, micro, hidden) -> logits
    (seq, micro, padded vocabulary / tp).
    """

    def __init__(self, recipe: Recipe, position: Position, device: Device) -> None:
        """Build this rank's stage."""
        self._counts = chunk_layers(recipe) or ()
        config = transformer_config(recipe, device)
        padded = recipe.model.padded_vocab(position.tp_size)
        real = real_rows(recipe.model.vocab, padded, position.tp, position.tp_size)
        topology = PipeModelDataParallelTopology(
            num_pp=position.pp_size, num_mp=position.tp_size, num_dp=position.dp_size
        )
        super().__init__(
            layers=list(specs(recipe, position, device, config)),
            topology=topology,
            loss_fn=lambda logits, labels: token_losses(logits, labels, real).float().mean(),
        )

    def _partition_layers(self, method: str = "uniform") -> None:
        """As the recipe says: the embedding is on the first stage, norm and logits on the last."""
        ends = [2]
        for count in self._counts:
            ends.append(ends[-1] + count)
        self.parts = [0, *ends[1:-1], len(self._layer_specs)]
        stage = self._topo.get_coord(self.global_rank).pipe
        self._set_bounds(start=self.parts[stage], stop=self.parts[stage + 1])


def specs(
    recipe: Recipe, position: Position, device: Device, config: TransformerConfig
) -> Iterator[LayerSpec | torch.nn.Module]:
    """Every layer of the model; only those of this stage are built."""
    model = recipe.model
    words = (model.padded_vocab(position.tp_size), model.hidden)
    made = {"init_method": config.init_method, "config": config}
    made["reduce_scatter_embeddings"] = scatters_words(recipe, config)
    if model.tied:
        yield TiedLayerSpec(TIED, VocabParallelEmbedding, *words, **made)
    else:
        yield LayerSpec(VocabParallelEmbedding, *words, **made)
    yield LayerSpec(Embedding, recipe, config)
    for number, spec in enumerate(every_layer(recipe, device, config)):
        yield LayerSpec(StageLayer, config, spec.submodules, number, recipe=recipe)
    # Its class is not the one that makes it, so it is made on every stage.
    yield norm(device)(config, model.hidden, eps=model.norm_eps)
    if model.tied:
        logits = Logits(recipe, config, position)
        yield TiedLayerSpec(TIED, VocabParallelEmbedding, *words, forward_fn=logits.tied, **made)
    else:
        yield LayerSpec(Logits, recipe, config, position)


def scatters_words(recipe: Recipe, config: TransformerConfig) -> bool:
    """Whether the rows of the tokens come as this rank's part of the sequence already."""
    return bool(config.sequence_parallel and recipe.model.positions != "learned")


class Embedding(torch.nn.Module):
    """What follows the rows of the tokens, as in megatron-core's ``LanguageModelEmbedding``."""

    def __init__(self, recipe: Recipe, config: TransformerConfig) -> None:
        """With learned positions, if the model has them."""
        super().__init__()
        self.config, self.scattered = config, scatters_words(recipe, config)
        learned = recipe.model.positions == "learned"
        self.position_embeddings = (
            torch.nn.Embedding(recipe.model.seq, recipe.model.hidden) if learned else None
        )
        self.dropout = torch.nn.Dropout(config.hidden_dropout)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Hidden (seq, micro, hidden) from (micro, seq, hidden)."""
        if self.position_embeddings is not None:
            rows = rows + self.position_embeddings.weight
        hidden = rows if self.scattered else rows.transpose(0, 1).contiguous()
        if not self.config.sequence_parallel:
            dropped: torch.Tensor = self.dropout(hidden)
            return dropped
        if not self.scattered:
            hidden = tensor_parallel.scatter_to_sequence_parallel_region(hidden).clone()
        with tensor_parallel.get_cuda_rng_tracker().fork():
            dropped = self.dropout(hidden)
        return dropped


class StageLayer(TransformerLayer):
    """megatron-core's, from one tensor to one tensor."""

    def __init__(
        self, config: TransformerConfig, submodules: Any, number: int, *, recipe: Recipe
    ) -> None:
        """Layer ``number``, from 0, with megatron-core's description of what it is made of."""
        # It adds the layers of the stages before by itself.
        before = get_transformer_layer_offset(config)
        super().__init__(config, submodules, layer_number=number + 1 - before)
        model = recipe.model
        self.whole = recipe.recompute.kind == "full"
        self.seq = model.seq
        rotary = model.positions == "rope" and model.mla is None
        self.rotary = (
            RotaryEmbedding(
                kv_channels=self.config.kv_channels,
                rotary_percent=model.rope_fraction,
                rotary_base=model.rope_base,
                use_cpu_initialization=self.config.use_cpu_initialization,
            )
            if rotary
            else None
        )

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Hidden to hidden."""
        if self.whole and self.training:
            again: torch.Tensor = tensor_parallel.checkpoint(self._pass, False, hidden)
            return again
        return self._pass(hidden)

    def _pass(self, hidden: torch.Tensor) -> torch.Tensor:
        places = self.rotary(self.seq) if self.rotary is not None else None
        output, _ = super().forward(hidden, attention_mask=None, rotary_pos_emb=places)
        result: torch.Tensor = output
        return result


class Logits(ColumnParallelLinear):
    """The last product, with a matrix of its own or with the rows of the tokens."""

    def __init__(self, recipe: Recipe, config: TransformerConfig, position: Position) -> None:
        """A matrix only where the model is not tied."""
        super().__init__(
            recipe.model.hidden,
            recipe.model.padded_vocab(position.tp_size),
            config=config,
            init_method=config.init_method,
            bias=False,
            gather_output=False,
            skip_weight_param_allocation=recipe.model.tied,
        )

    def forward(self, hidden: torch.Tensor, **named: Any) -> torch.Tensor:
        """Logits from hidden."""
        logits: torch.Tensor = super().forward(hidden, **named)[0]
        return logits

    def tied(self, words: torch.nn.Module, hidden: torch.Tensor) -> torch.Tensor:
        """The same with the rows of the tokens."""
        return self.forward(hidden, weight=words.weight)


def global_names(stages: Stages, recipe: Recipe, position: Position) -> dict[str, str]:
    """Each parameter's name here -> its name in megatron-core's GPTModel."""
    first, last = first_expert(recipe, position), recipe.model.layers + 2
    ends = {
        "0": "embedding.word_embeddings",
        "1": "embedding",
        str(last): "decoder.final_layernorm",
        str(last + 1): "output_layer",
    }
    names = {}
    for name, _ in stages.named_parameters():
        number, rest = name.replace(f"tied_modules.{TIED}.", "0.").split(".", 1)
        head = ends.get(number) or f"decoder.layers.{int(number) - 2}"
        names[name] = expert_name(f"{head}.{rest}", first)
    return names
