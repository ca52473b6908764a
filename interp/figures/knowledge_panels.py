"""What a report shows of a `KnowledgeComparison`."""

from dataclasses import asdict

import pandas as pd

from interp.figures.knowledge import (
    inside_bars,
    knowledge_maps,
    likeness_bars,
    staircase_curves,
)
from interp.figures.knowledge_cells import cell_scatter, screening_scatter
from interp.figures.report import Hidden, Panel
from interp.results.knowledge import MAX_LISTED, KnowledgeComparison


# One figure of each kind for each component would be a wall for heads.
MAX_UNITS = 4


def knowledge_panels(result: KnowledgeComparison) -> tuple[Panel, ...]:
    """The figures of a report, each with its data.

    Args:
        result: The comparison.
    """
    return tuple(
        panel
        for unit in range(min(len(result.units), MAX_UNITS))
        for panel in (
            *_maps(result, unit),
            *_likeness(result, unit),
            *_screening(result, unit),
        )
    )


def _maps(result: KnowledgeComparison, unit: int) -> tuple[Panel, ...]:
    name = result.units[unit]
    cells = result.to_dataframe().query("unit == @name")
    steps = [row for row in result.staircase if row.unit == name]
    said = "; ".join(f"{row.model}, {row.step}: layer {row.layer:.1f}" for row in steps)
    return (
        Panel(
            name="knowledge_maps",
            figure=knowledge_maps(result, unit=unit),
            alt=f"Heat maps of restoration by layer and token of both models for "
            f"{name}, and their difference. Mean layer of the effect: {said}.",
            rows=cells,
        ),
        Panel(
            name="staircase_curves",
            figure=staircase_curves(result, unit=unit),
            alt="Restoration by layer at the last token of the subject, of the "
            "object and of the prompt, for each model.",
            rows=pd.DataFrame([asdict(row) for row in steps]),
        ),
        Panel(
            name="cell_scatter",
            figure=cell_scatter(result, unit=unit),
            alt="Restoration of every cell in base against that in post, with the "
            "line on which both are equal.",
            rows=cells.query("run in ('base', 'post')"),
        ),
    )


def _likeness(result: KnowledgeComparison, unit: int) -> tuple[Panel, ...]:
    name = result.units[unit]
    shares = [asdict(row) for row in result.shares if row.unit == name]
    return (
        Panel(
            name="likeness_bars",
            figure=likeness_bars(result, unit=unit),
            alt="Bars of Pearson's r and of the largest difference of the two "
            "maps, beside halves of the pairs, shifted layers, permuted columns "
            "and exchanged models.",
            rows=result.likeness_dataframe().query("unit == @name"),
        ),
        Panel(
            name="inside_bars",
            figure=inside_bars(result, unit=unit),
            alt="Share of pairs whose patched logit difference stays between that "
            "of the false and of the true prompt, by run.",
            rows=pd.DataFrame(shares),
        ),
    )


def _screening(result: KnowledgeComparison, unit: int) -> tuple[Panel, ...]:
    checks = [row for row in result.screening if row.unit == result.units[unit]]
    if not any(row.cells for row in checks):
        return ()
    said = "; ".join(f"{row.model}: r {row.pearson:.2f}" for row in checks)
    rows = [
        {"model": row.model, "unit": row.unit} | asdict(cell)
        for row in checks
        for cell in row.cells
    ]
    return (
        Panel(
            name="screening_scatter",
            figure=screening_scatter(result, unit=unit),
            alt="Restoration by attribution patching against exact patching, cell by "
            f"cell. Over cells of single pairs {said}.",
            rows=pd.DataFrame(rows),
        ),
    )


def _left_out(result: KnowledgeComparison) -> tuple[Hidden, ...]:
    rows = result.left_out_dataframe()
    if not len(rows):
        return ()
    title = f"Statements without a partner, up to {MAX_LISTED} of each file and rule"
    return (Hidden(title=title, rows=rows),)


def knowledge_tables(result: KnowledgeComparison) -> tuple[Hidden, ...]:
    """The tables of a report that are folded away."""
    tables = [
        Hidden(title="Tests of equivalence", rows=result.equivalence_dataframe()),
        Hidden(title="What each rule of pairing cost", rows=result.dropped_dataframe()),
        *_left_out(result),
        Hidden(title="The pairs", rows=result.pairs_dataframe()),
    ]
    if result.screening:
        rows = pd.DataFrame([asdict(row) for row in result.screening])
        rows = rows.drop(columns="cells")
        tables.append(
            Hidden(title="Attribution patching against the exact maps", rows=rows)
        )
    return tuple(tables)
