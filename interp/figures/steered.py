"""What a report shows of a text that was steered."""

from interp.figures.lens import divergence_curve
from interp.figures.report import Hidden, Panel
from interp.results.steered import SteeredText


def steered_panels(result: SteeredText) -> tuple[Panel, ...]:
    """How far steering moved the prediction of each token.

    Args:
        result: The texts.
    """
    rows = result.to_dataframe()
    return (
        Panel(
            name="divergence_curve",
            figure=divergence_curve(result.sides),
            alt="A line: the KL divergence of the steered model's prediction from the "
            "unchanged model's at each token of the steered text.",
            rows=rows.loc[rows["text"] == "steered"],
        ),
    )


def steered_tables(result: SteeredText) -> tuple[Hidden, ...]:
    """Prompt and texts, closed since a model may have written anything.

    Args:
        result: The texts.
    """
    rows = result.to_dataframe()
    return (Hidden(title="Prompt and both texts by token", rows=rows),)
