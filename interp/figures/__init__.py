"""Figures and reports: pure functions from results to plotly figures and HTML."""

from interp.figures.attention import (
    attention_pattern as attention_pattern,
    attention_steps as attention_steps,
    marked_attention as marked_attention,
)
from interp.figures.confidence import (
    calibration_curve as calibration_curve,
    effect_scatter as effect_scatter,
    overlap_curve as overlap_curve,
    swap_bars as swap_bars,
)
from interp.figures.confidence_neurons import (
    effect_strips as effect_strips,
    entropy_bars as entropy_bars,
    frequency_scatter as frequency_scatter,
    rank_slopes as rank_slopes,
    shared_neurons as shared_neurons,
)
from interp.figures.formation import (
    formation_curves as formation_curves,
    formation_seeds as formation_seeds,
)
from interp.figures.heads import copy_curve as copy_curve, head_map as head_map
from interp.figures.heads_ablation import (
    ablation_map as ablation_map,
    ablation_routes as ablation_routes,
)
from interp.figures.heads_single import (
    ablation_strips as ablation_strips,
    score_strips as score_strips,
)
from interp.figures.held_out import (
    sweep_scores as sweep_scores,
    transfer_scores as transfer_scores,
)
from interp.figures.knowledge import (
    inside_bars as inside_bars,
    knowledge_maps as knowledge_maps,
    likeness_bars as likeness_bars,
    staircase_curves as staircase_curves,
)
from interp.figures.knowledge_cells import (
    cell_pairs as cell_pairs,
    cell_scatter as cell_scatter,
    head_restoration as head_restoration,
    pair_spread as pair_spread,
    restoration_map as restoration_map,
    screening_scatter as screening_scatter,
)
from interp.figures.lens import (
    contribution_bars as contribution_bars,
    divergence_curve as divergence_curve,
    lens_heatmap as lens_heatmap,
)
from interp.figures.neurons import (
    neuron_scatter as neuron_scatter,
    singular_values as singular_values,
)
from interp.figures.patching import patch_heatmap as patch_heatmap
from interp.figures.refusal import refusal_rates as refusal_rates
from interp.figures.refusal_candidates import (
    refusal_candidates as refusal_candidates,
    refusal_doses as refusal_doses,
    refusal_side_effects as refusal_side_effects,
)
from interp.figures.refusal_cosines import cosine_positions as cosine_positions
from interp.figures.refusal_curves import candidate_curves as candidate_curves
from interp.figures.refusal_projections import (
    refusal_projections as refusal_projections,
)
from interp.figures.refusal_scores import (
    refusal_scores as refusal_scores,
    refusal_transfer as refusal_transfer,
)
from interp.figures.report import (
    Hidden as Hidden,
    Panel as Panel,
    Section as Section,
    provenance_facts as provenance_facts,
    report_html as report_html,
)
from interp.figures.sections import report_section as report_section
from interp.figures.sweep import (
    probe_curve as probe_curve,
    probe_heatmap as probe_heatmap,
)
from interp.figures.timeline import (
    timeline_curves as timeline_curves,
    timeline_film as timeline_film,
    timeline_map as timeline_map,
    timeline_scatter as timeline_scatter,
)
from interp.figures.timeline_heads import (
    first_above as first_above,
    head_lines as head_lines,
    timelines_beside as timelines_beside,
)
from interp.figures.token_pairs import aligned_tokens as aligned_tokens
from interp.figures.tokens import Html as Html, token_strip as token_strip
from interp.figures.transfer import transfer_heatmap as transfer_heatmap
from interp.figures.truthfulness import (
    carried_scores as carried_scores,
    cosine_curve as cosine_curve,
    layer_curve as layer_curve,
    score_histogram as score_histogram,
    transfer_matrix as transfer_matrix,
)
from interp.figures.truthfulness_cosines import direction_cosines as direction_cosines
from interp.figures.truthfulness_effects import (
    dose_response as dose_response,
    intervention_bars as intervention_bars,
)
from interp.figures.truthfulness_probes import (
    dataset_curve as dataset_curve,
    dataset_matrix as dataset_matrix,
    probe_curves as probe_curves,
    transfer_curve as transfer_curve,
)
from interp.figures.truthfulness_sites import (
    component_scatter as component_scatter,
    probe_map as probe_map,
    site_scores as site_scores,
    statement_curve as statement_curve,
)
