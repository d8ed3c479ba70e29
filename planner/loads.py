"""What each pipeline stage does for a micro-batch, and which stage is the slowest."""

from dataclasses import dataclass

from llmtrain.planner.costs import Case, Cost, layer_cost, part_cost
from llmtrain.planner.numeric import Quantity, choose
from llmtrain.planner.operators import dense_layer, embedding, head, moe_layer, prediction


@dataclass(frozen=True, kw_only=True, slots=True)
class Load:
    """What lies on one stage."""

    dense: Quantity
    """Dense layers."""
    moe: Quantity
    """MoE layers."""
    start: Quantity
    """Flag: the input embedding."""
    end: Quantity
    """Flag: the output layer, multi-token prediction and the loss."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pieces:
    """What a micro-batch costs on one rank in each piece of the model."""

    dense: Cost
    """A dense layer."""
    moe: Cost
    """A MoE layer."""
    start: Cost
    """The input embedding."""
    end: Cost
    """The output layer, multi-token prediction and the loss."""

    def of(self, load: Load) -> Cost:
        """All that lies on a stage."""
        layers = self.dense * load.dense + self.moe * load.moe
        return layers + self.start * load.start + self.end * load.end


def pieces_of(case: Case) -> Pieces:
    """The pieces of the model that ``case`` times."""
    model, layout = case.model, case.layout
    end = part_cost(case, head(model, layout))
    if model.mtp:
        depth = layer_cost(case, prediction(model, layout), moe=bool(model.experts))
        end = end + depth * model.mtp
    return Pieces(
        dense=layer_cost(case, dense_layer(model, layout), moe=False),
        moe=layer_cost(case, moe_layer(model, layout), moe=True) if model.experts else Cost(),
        start=part_cost(case, embedding(model, layout)),
        end=end,
    )


def loads_of(case: Case) -> tuple[Load, Load, Load]:
    """The first stage, the fullest one between, and the last; a single stage is both ends."""
    stages, single = case.layout.stages, case.layout.pp == 1
    alone = choose(single, 1.0, 0.0)
    first = Load(dense=stages.first_dense, moe=stages.first_moe, start=1.0, end=alone)
    middle = Load(dense=stages.middle_dense, moe=stages.middle_moe, start=0.0, end=0.0)
    last = Load(
        dense=choose(single, stages.first_dense, stages.last_dense),
        moe=choose(single, stages.first_moe, stages.last_moe),
        start=alone,
        end=1.0,
    )
    return first, middle, last


def whole_model(case: Case) -> Load:
    """All stages together."""
    model = case.model
    moe = model.layers - model.dense_layers if model.experts else 0
    return Load(dense=model.layers - moe, moe=moe, start=1.0, end=1.0)


def slowest_load(case: Case, pieces: Pieces) -> Load:
    """The stage that takes longest, the first of several; of one layout."""
    return max(loads_of(case), key=lambda load: pieces.of(load).total)
