"""What a report shows of a `HeadTimeline`."""

import numpy as np
import pandas as pd

from interp.figures.attention import around_change, attention_steps
from interp.figures.report import Hidden, Panel, panel
from interp.figures.timeline import timeline_curves, timeline_map, timeline_scatter
from interp.results.timeline import HeadTimeline


SCATTER = ("prefix_matching", "copying")


def timeline_panels(result: HeadTimeline) -> tuple[Panel, ...]:
    """Curves with their changes, a map for each metric of heads, scatter, patterns."""
    panels: list[Panel] = []
    if result.curves:
        found = [row for row in result.phases if row.verdict == "transition"]
        said = "; ".join(
            f"{row.curve} at step {row.time('logistic midpoint').step:.0f}"
            for row in found
        )
        panels.append(
            panel(
                timeline_curves,
                result,
                alt=f"Curves over training. Changes: {said or 'none'}.",
                rows=result.phases_dataframe(),
            )
        )
    rows = result.to_dataframe()
    for metric in result.metrics:
        panels.append(
            Panel(
                name="timeline_map",
                figure=timeline_map(result, metric),
                alt=f"A map of {metric} by head and checkpoint; highest at the end:"
                f" {', '.join(result.top(metric))}.",
                rows=rows.query("metric == @metric and step == step.max()"),
            )
        )
    if set(SCATTER) <= set(result.metrics):
        panels.append(
            panel(
                timeline_scatter,
                result,
                alt="Prefix matching and copying of each head at the last checkpoint.",
            )
        )
    return (*panels, *_pattern_panels(result))


def timeline_tables(result: HeadTimeline) -> tuple[Hidden, ...]:
    """Lags, heads that took over, how stable heads are, and what failed."""
    tables: list[Hidden] = []
    if result.lags:
        title = "By how many steps one curve changes after another"
        tables.append(Hidden(title=title, rows=result.lags_dataframe()))
    if result.metrics:
        tables.append(
            Hidden(
                title="How many heads are high, and whether they stay the same",
                rows=_stability(result),
            )
        )
    if result.swaps:
        rows = [[row.metric, row.step, row.before, row.after] for row in result.swaps]
        tables.append(
            Hidden(
                title="Where another head took over as the highest",
                rows=pd.DataFrame(rows, columns=["metric", "step", "before", "after"]),
            )
        )
    if result.failed:
        rows = [[row.name, row.step, row.reason] for row in result.failed]
        tables.append(
            Hidden(
                title="Checkpoints that could not be measured",
                rows=pd.DataFrame(rows, columns=["checkpoint", "step", "reason"]),
            )
        )
    return tuple(tables)


def _pattern_panels(result: HeadTimeline) -> tuple[Panel, ...]:
    """What the head that ends highest attends to, if that was kept."""
    metric = SCATTER[0] if SCATTER[0] in result.metrics else "".join(result.metrics[:1])
    head = "".join(result.top(metric, k=1)) if metric else ""
    if head not in result.pattern_heads:
        return ()
    steps = [str(result.steps[place]) for place in around_change(result, metric)]
    return (
        Panel(
            name="attention_steps",
            figure=attention_steps(result, metric, head),
            alt=f"Attention of {head} by query and key in one sequence, at the steps"
            f" {', '.join(steps)}.",
        ),
    )


def _stability(result: HeadTimeline) -> pd.DataFrame:
    n = len(result.checkpoints)
    empty = np.full((len(result.metrics), 1), np.nan)
    same = np.concatenate([empty, result.persistence], axis=1)
    return pd.DataFrame(
        {
            "metric": np.repeat(np.array(result.metrics), n),
            "step": np.tile(result.steps, len(result.metrics)),
            "heads above": result.n_above.ravel(),
            "threshold": np.repeat(result.threshold, n),
            "rank correlation with before": same[:, :n].ravel(),
        }
    )
