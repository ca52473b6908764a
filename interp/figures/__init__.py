"""Figures and reports: pure functions from results to plotly figures and HTML."""

from interp.figures.refusal import refusal_rates as refusal_rates
from interp.figures.report import (
    Hidden as Hidden,
    Panel as Panel,
    Section as Section,
    report_html as report_html,
)
from interp.figures.sections import report_section as report_section
from interp.figures.tokens import token_strip as token_strip
from interp.figures.truthfulness import (
    cosine_curve as cosine_curve,
    intervention_bars as intervention_bars,
    layer_curve as layer_curve,
    score_histogram as score_histogram,
    transfer_matrix as transfer_matrix,
)
