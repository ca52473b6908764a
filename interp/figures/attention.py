"""What one head attends to, token by token: of `HeadScores` and of `HeadTimeline`.

Each is a pure function of the result and of what is looked at.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float32, Int
from plotly.subplots import make_subplots

from interp.errors import ResultError
from interp.figures.style import MODEL_COLOURS, faded, plain, shortened, styled
from interp.figures.tokens import shown as visible
from interp.results.heads import HeadScores
from interp.results.timeline import HeadTimeline


# More names than these stand on each other on a phone.
ACROSS, DOWN, FEW = 12, 24, 6
STEP_HEIGHT = 230
MARK = "what followed the same token before"
_SCALE = (
    (0.0, faded(MODEL_COLOURS["base"], 0.0)),
    (1.0, faded(MODEL_COLOURS["base"], 0.9)),
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Seen:
    """One pattern, the names of its tokens, and where the sequence repeats."""

    pattern: Float32[np.ndarray, "query key"]
    names: tuple[str, ...]
    start: int
    period: int


def attention_pattern(
    result: HeadScores | HeadTimeline,
    layer: int,
    head: int,
    *,
    checkpoint: int = -1,
) -> go.Figure:
    """What one head attends to in one sequence, token by token.

    Where the sequence repeats, lines mark the keys that follow an earlier copy of the
    query: an induction head attends along them.

    Args:
        result: The scores, or the timeline.
        layer: The head's layer.
        head: Its number.
        checkpoint: Which checkpoint of a timeline, by its place.

    Raises:
        ResultError: If the pattern of that head was not kept.
    """
    seen = _seen(result, f"L{layer}H{head}", checkpoint)
    figure = go.Figure()
    for trace in _traces(seen):
        figure.add_trace(trace)
    figure.update_traces(showlegend=True, selector={"mode": "lines"})
    size = len(seen.pattern)
    figure.update_xaxes(**_ticks(seen, ACROSS), tickangle=-60, range=[-0.5, size - 0.5])
    figure.update_yaxes(**_ticks(seen, DOWN), range=[size - 0.5, -0.5])
    when = "in one sequence"
    if isinstance(result, HeadTimeline):
        when = f"at step {result.steps[checkpoint]}"
    return styled(
        figure,
        title=f"What L{layer}H{head} attends to {when}",
        x="key",
        y="query",
        height=480,
    )


def attention_steps(result: HeadTimeline, metric: str, head: str) -> go.Figure:
    """What one head attends to before, while and after a metric's highest head rises.

    Before is the last checkpoint at which the logistic curve has gone a tenth of its
    way, and after the first at which it has gone nine tenths. Without a transition the
    first, the middle and the last checkpoint are shown.

    Args:
        result: The timeline.
        metric: Which metric.
        head: Which head, as `L1H0`.

    Raises:
        ResultError: If the pattern of that head was not kept.
    """
    places = around_change(result, metric)
    # Below each other, since beside each other a phone has no room for them.
    figure = make_subplots(
        rows=len(places),
        cols=1,
        subplot_titles=[f"step {result.steps[place]}" for place in places],
        shared_xaxes=True,
        vertical_spacing=0.07,
    )
    for row, place in enumerate(places, start=1):
        seen = _seen(result, head, place)
        for trace in _traces(seen):
            figure.add_trace(trace, row=row, col=1)
        size = len(seen.pattern)
        figure.update_xaxes(**_ticks(seen, ACROSS), range=[-0.5, size - 0.5])
        figure.update_yaxes(**_ticks(seen, FEW), range=[size - 0.5, -0.5])
    figure.update_xaxes(tickangle=-60)
    # One scale for all of them.
    figure.update_traces(showscale=False, selector={"type": "heatmap"})
    figure.update_traces(showscale=True, selector=0)
    when = "before, while and after it changes"
    styled(
        figure,
        title=f"What {plain(head)} attends to "
        + (when if _change(result, metric) else "over training"),
        y="query",
        height=120 + STEP_HEIGHT * len(places),
    )
    return figure.update_xaxes(title_text="key", row=len(places))


def around_change(result: HeadTimeline, metric: str) -> tuple[int, ...]:
    """The places of the checkpoints before, while and after a metric's rise.

    Args:
        result: The timeline.
        metric: Which metric; see `attention_steps`.
    """
    steps, last = result.steps, len(result.steps) - 1
    change = _change(result, metric)
    if change is None:
        return tuple(dict.fromkeys((0, last // 2, last)))
    middle, half = change
    before = int((steps <= middle - half).sum()) - 1
    after = int((steps < middle + half).sum())
    at = int(np.abs(steps - middle).argmin())
    return tuple(dict.fromkeys((max(before, 0), at, min(after, last))))


def marked_attention(
    result: HeadScores | HeadTimeline,
    layer: int,
    head: int,
    *,
    checkpoint: int = -1,
) -> float:
    """The share of attention that goes along the marks of `attention_pattern`.

    The mean over the queries that have marked keys; NaN where none has.

    Args:
        result: The scores, or the timeline.
        layer: The head's layer.
        head: Its number.
        checkpoint: Which checkpoint of a timeline, by its place.

    Raises:
        ResultError: If the pattern of that head was not kept.
    """
    seen = _seen(result, f"L{layer}H{head}", checkpoint)
    queries, keys = _marked(seen)
    if not queries.size:
        return float("nan")
    return float(seen.pattern[queries, keys].sum() / len(np.unique(queries)))


def _seen(result: HeadScores | HeadTimeline, head: str, checkpoint: int) -> _Seen:
    if isinstance(result, HeadTimeline):
        pattern = result.pattern(head, checkpoint=checkpoint)
        start, period = result.pattern_start, result.pattern_period
    else:
        pattern, row = result.pattern(head), result.pattern_sequence
        start = int(result.has_bos)
        period = int(result.periods[row]) if result.periods.size else 0
    if pattern is None:
        raise ResultError(
            f"The attention of {head} was not kept.",
            expected=f"Kept: {', '.join(result.pattern_heads) or 'none'}.",
        )
    names = tuple(visible(token) for token in result.pattern_tokens)
    return _Seen(pattern=pattern, names=names, start=start, period=period)


def _traces(seen: _Seen) -> list[Any]:
    """The pattern and, where the sequence repeats, the marks."""
    names = [plain(name) for name in seen.names]
    # Nothing is seen of later tokens.
    causal = np.tril(np.ones(seen.pattern.shape, dtype=bool))
    heat = go.Heatmap(
        z=np.where(causal, seen.pattern, np.nan).astype(np.float32),
        zmin=0,
        zmax=1,
        colorscale=_SCALE,
        colorbar={"title": {"text": "attention"}, "thickness": 14},
        text=[[f"{a} to {b}" for b in names] for a in names],
        hovertemplate="%{text} (%{y} to %{x})<br>%{z:.3f}<extra></extra>",
        hoverongaps=False,
    )
    queries, keys = _marked(seen)
    if not queries.size:
        return [heat]
    # A line for each earlier copy: a gap lies where the next one begins.
    breaks = np.flatnonzero(np.diff(keys) <= 0) + 1
    marks = go.Scatter(
        x=np.insert(keys.astype(np.float32), breaks, np.nan),
        y=np.insert(queries.astype(np.float32), breaks, np.nan),
        mode="lines",
        name=MARK,
        line={"color": MODEL_COLOURS["post"], "width": 1.5, "dash": "dot"},
        hoverinfo="skip",
        showlegend=False,
    )
    return [heat, marks]


def _marked(
    seen: _Seen,
) -> tuple[Int[np.ndarray, " marked"], Int[np.ndarray, " marked"]]:
    """Queries and the keys behind their earlier copies, the nearest copies first."""
    queries = np.arange(seen.start, len(seen.pattern))
    n_copies = len(queries) // seen.period if seen.period else 0
    pairs = [
        (queries[back:], queries[:-back] + 1)
        for back in seen.period * np.arange(1, n_copies + 1)
        if back < len(queries)
    ]
    if not pairs:
        return queries[:0], queries[:0]
    rows, columns = (np.concatenate(one) for one in zip(*pairs, strict=True))
    return rows, columns


def _ticks(seen: _Seen, n: int) -> dict[str, Any]:
    places = np.arange(0, len(seen.names), -(-len(seen.names) // n))
    return {
        "tickvals": places.tolist(),
        "ticktext": [shortened(seen.names[place]) for place in places],
        "showgrid": False,
    }


def _change(result: HeadTimeline, metric: str) -> tuple[float, float] | None:
    """The step at which the highest head changes, and half the width of the change."""
    curve = f"{metric} (highest head)"
    found = next((row for row in result.phases if row.curve == curve), None)
    if found is None or found.verdict != "transition":
        return None
    return found.time("logistic midpoint").step, found.width / 2
