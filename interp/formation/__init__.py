"""The formation lab: how induction heads form, in networks small enough to hold parts.

    experiment = Experiment(
        network=NetworkConfig(symbols=32, outputs=32, symbol_std=0.5),
        task=RepeatedTokens(),
        training=TrainingConfig(steps=500),
        seeds=(0, 1, 2, 3),
        clamps=holding.previous_token(0, [0], replicas=(2, 3)),
        evaluations=(Evaluation(task=RepeatedTokens(), measure=measure_repeats),),
    )
    curves = train(experiment).curves

Experiments with the findings they stand for are in `interp.formation.presets`. The same
clamps hold parts of a language model in a `with clamped(model, clamps):` block.
"""

from typing import TYPE_CHECKING, no_type_check

from interp.formation import holding as holding, toy as toy
from interp.formation.batches import Batch as Batch, Task as Task
from interp.formation.clamps import Clamp as Clamp, ClampContext as ClampContext
from interp.formation.forward import (
    Pass as Pass,
    forward as forward,
    losses as losses,
)
from interp.formation.measures import (
    accuracy as accuracy,
    measure_labels as measure_labels,
    measure_repeats as measure_repeats,
)
from interp.formation.network import (
    NetworkConfig as NetworkConfig,
    new_parameters as new_parameters,
    parameter_shapes as parameter_shapes,
    site_names as site_names,
)
from interp.formation.reddy import (
    ReddyTask as ReddyTask,
    evaluator as evaluator,
    reddy_task as reddy_task,
)
from interp.formation.spec import (
    Evaluation as Evaluation,
    Experiment as Experiment,
    TrainingConfig as TrainingConfig,
)
from interp.formation.tasks import (
    FewShotLabels as FewShotLabels,
    FewShotSplits as FewShotSplits,
    RepeatedTokens as RepeatedTokens,
    few_shot_labels as few_shot_labels,
)
from interp.formation.training import (
    Trained as Trained,
    evaluate as evaluate,
    replay as replay,
    train as train,
)


if TYPE_CHECKING:
    from interp.formation.on_models import clamped as clamped


# The lab is used without transformers, which takes seconds to import.
@no_type_check
def __getattr__(name: str) -> object:
    if name == "clamped":
        from interp.formation.on_models import clamped

        return clamped
    raise AttributeError(f"module 'interp.formation' has no attribute {name!r}")
