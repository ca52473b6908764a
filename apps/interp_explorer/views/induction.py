"""Which heads copy, what they are worth, and when in training they appear."""

from functools import partial

from interp.figures import (
    Panel,
    ablation_map,
    ablation_strips,
    formation_seeds,
    head_map,
    score_strips,
    timeline_film,
)
from interp.results import (
    FormationRun,
    HeadAblations,
    HeadScores,
    HeadTimeline,
    Result,
)
from interp_explorer.pages import STUDY
from interp_explorer.state import choose
from interp_explorer.widgets.attended import show_pattern
from interp_explorer.widgets.chart import show_figure
from interp_explorer.widgets.clickable import Choice, choose_cell
from interp_explorer.widgets.made import Made, made
from interp_explorer.widgets.study import show_rest, show_study
from interp_explorer.widgets.timelines import show_beside, show_heads
from interp_explorer.widgets.titles import show_title


PAGE = STUDY["induction"]


def is_spare(result: Result, panel: Panel) -> bool:
    """Whether a map is of another score than the first.

    The first map shows all of them, at a choice.
    """
    if panel.name not in ("timeline_map", "head_map") or panel.rows is None:
        return False
    metrics = panel.rows["metric"].unique().tolist()
    return isinstance(result, HeadTimeline | HeadScores) and metrics[:1] != [
        *result.metrics[:1]
    ]


def show_timeline(result: HeadTimeline, panel: Panel) -> None:
    """A map of all scores at a choice, and heads one by one."""
    if is_spare(result, panel):
        show_figure(panel.figure, alt=panel.alt, key="i_map")
    else:
        show_heads(result, panel)


def show_scatter(result: HeadTimeline, panel: Panel) -> None:
    """Prefix matching and copying at the step of a slider."""
    steps = [str(step) for step in result.steps]
    step = choose("At step", steps, key="i_at", default=steps[-1], slider=True)
    place = steps.index(step) if step in steps else -1
    figure = made(partial(timeline_film, result, checkpoint=place))
    show_figure(figure, alt=panel.alt, key="i_scatter")


def show_scores(result: HeadScores, panel: Panel) -> None:
    """A map of one score; below it all scores of the chosen head."""
    if is_spare(result, panel):
        show_figure(panel.figure, alt=panel.alt, key="i_map")
        return
    score = choose("Score", result.metrics, key="i_metric")
    score = score if score in result.metrics else result.metrics[0]
    layer, head = _choose_head(
        made(partial(head_map, result, score)),
        result.mean.shape,
        result.top(score, k=1)[0],
        panel,
    )
    show_figure(
        made(partial(score_strips, result, layer, head)),
        alt=f"Every score of L{layer}H{head}, a point for each sequence.",
        key="i_strips",
    )
    show_pattern(result, layer, head)


def show_ablations(result: HeadAblations, panel: Panel) -> None:
    """What ablating each head does; below it the chosen one, by sequence."""
    kind = choose("In the head's place", result.kinds, key="i_kind")
    kind = kind if kind in result.kinds else result.kinds[0]
    layer, head = _choose_head(
        made(partial(ablation_map, result, kind)),
        result.loss.shape,
        result.top(kind, k=1)[0],
        panel,
    )
    show_figure(
        made(partial(ablation_strips, result, layer, head)),
        alt=f"Change of loss without L{layer}H{head} in every sequence, by kind.",
        key="i_strips",
    )


def show_seeds(result: FormationRun, panel: Panel) -> None:
    """Small panels by seed, of the metric that is looked at."""
    metric = choose("Metric", result.metrics, key="i_metric")
    metric = metric if metric in result.metrics else result.metrics[0]
    figure = made(partial(formation_seeds, result, metric))
    show_title(figure.figure, panel)
    show_figure(
        figure,
        alt=f"{metric} over training by seed. {panel.alt}",
        key="i_seeds",
    )


def _choose_head(
    figure: Made, shape: tuple[int, ...], best: str, panel: Panel
) -> tuple[int, int]:
    show_title(figure.figure, panel)
    layer, head = (int(part) for part in best[1:].split("H"))
    return choose_cell(
        figure,
        rows=Choice(
            key="i_layer",
            label="Layer",
            names=tuple(str(number) for number in range(shape[1])),
            default=layer,
        ),
        columns=Choice(
            key="i_number",
            label="Head",
            names=tuple(str(number) for number in range(shape[2])),
            default=head,
        ),
        alt=panel.alt,
    )


DRAW = {
    "timeline_map": show_timeline,
    "timeline_scatter": show_scatter,
    "head_map": show_scores,
    "ablation_map": show_ablations,
    "formation_seeds": show_seeds,
}
if shown := show_study(PAGE, draw=DRAW, is_spare=is_spare):
    entry, found = shown
    if isinstance(found.result, HeadTimeline):
        show_beside(entry, found.result)
    show_rest(entry, found, key=PAGE.key)
