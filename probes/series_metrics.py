"""The metrics over checkpoints by the names that `interp track` knows them by."""

from typing import TYPE_CHECKING, Literal, assert_never, get_args

from interp.errors import ConfigError, closest


if TYPE_CHECKING:
    from interp.heads import CheckpointMetric

Files = list[str] | None
# Other than the attention scores, which go by their own names.
Other = Literal[
    "loss", "copying", "composition", "entropy_neurons", "truth", "refusal", "probe"
]
OTHERS: tuple[Other, ...] = get_args(Other)
CHEAP = "prefix_matching,previous_token,loss"


def metric_names(
    metrics: str, statements: Files, harmful: Files, harmless: Files
) -> list[str]:
    """What is asked for, or by default what is cheap and what there is data for.

    Args:
        metrics: What `--metrics` says.
        statements: What `--statements` says.
        harmful: What `--harmful` says.
        harmless: What `--harmless` says.

    Raises:
        ConfigError: If there is no such metric, or it lacks its data.
    """
    from interp.heads.targets import PATTERN_METRICS

    known = (*PATTERN_METRICS, *OTHERS)
    wanted = [name.strip() for name in metrics.split(",") if name.strip()]
    for name in wanted:
        if name not in known:
            raise ConfigError(
                f"There is no metric {name!r}.",
                expected=f"Metrics: {', '.join(known)}.",
                remedy=closest(name, known),
            )
    if not wanted:
        wanted = CHEAP.split(",")
        wanted += ["truth", "probe"] if statements else []
        wanted += ["refusal"] if harmful and harmless else []
    needs = {"truth": statements, "probe": statements, "refusal": harmful and harmless}
    for name, given in needs.items():
        if name in wanted and not given:
            options = (
                "--harmful and --harmless" if name == "refusal" else "--statements"
            )
            raise ConfigError(f"The metric {name!r} needs {options}.")
    return list(dict.fromkeys(wanted))


def chosen_metrics(
    wanted: list[str],
    statements: Files,
    harmful: Files,
    harmless: Files,
    *,
    layer: int | None,
    limit: int | None,
    columns: tuple[str, str] = ("statement", "label"),
) -> "list[CheckpointMetric]":
    """The metrics by their names, with the data that they need.

    Args:
        wanted: What `metric_names` returned.
        statements: What `--statements` says.
        harmful: What `--harmful` says.
        harmless: What `--harmless` says.
        layer: What `--layer` says.
        limit: What `--limit` says.
        columns: The columns of the statements and of their labels.
    """
    from interp import heads

    patterns = tuple(name for name in wanted if name not in OTHERS)
    found: list[CheckpointMetric] = (
        [heads.AttentionScores(names=patterns)] if patterns else []
    )
    for name in OTHERS:
        if name not in wanted:
            continue
        match name:
            case "loss":
                found.append(heads.Losses())
            case "copying":
                found.append(heads.CopyingByWeights())
            case "composition":
                found.append(heads.StrongestComposition())
            case "entropy_neurons":
                found.append(heads.EntropyNeurons())
            case "truth" | "probe":
                found.append(
                    _of_statements(
                        name, statements or [], layer, limit, columns=columns
                    )
                )
            case "refusal":
                found.append(_refusal(harmful or [], harmless or [], layer))
            case _:
                assert_never(name)
    return found


def _of_statements(
    name: Literal["truth", "probe"],
    files: list[str],
    layer: int | None,
    limit: int | None,
    *,
    columns: tuple[str, str],
) -> "CheckpointMetric":
    import numpy as np

    from interp import data, heads

    statement, label = columns
    found = data.join(
        [data.statements(file, statement=statement, label=label) for file in files]
    )
    if limit is not None and len(found) > limit:
        # The true and the false statement about one thing stay or go together.
        names = list(dict.fromkeys(found.groups))
        order = np.random.default_rng(0).permutation(len(names)).tolist()
        rank = {names[place]: number for number, place in enumerate(order)}
        rows = sorted(range(len(found)), key=lambda row: rank[found.groups[row]])
        found = found.take(sorted(rows[:limit]))
    if name == "truth":
        return heads.truth_direction(found, layer=layer)
    from probes.logistic import fit_logistic

    return heads.ProbeAccuracy(
        name="truth",
        examples=heads.statement_examples(found),
        fit=fit_logistic,
        layer=layer,
    )


def _refusal(
    harmful: list[str], harmless: list[str], layer: int | None
) -> "CheckpointMetric":
    from interp import data, heads

    contrast = data.contrast(data.instructions(harmful), data.instructions(harmless))
    return heads.refusal_direction(contrast, layer=layer)
