"""What is known of one neuron, and which neurons two models share."""

from functools import partial

import numpy as np
import pandas as pd
import streamlit as st

from interp.figures import entropy_bars, rank_slopes, shared_neurons
from interp.results import ConfidenceComparison, NeuronTable
from interp.results.truthfulness import ROLES, Role
from interp_explorer.widgets.chart import show_figure
from interp_explorer.widgets.downloads import show_table
from interp_explorer.widgets.made import Made, code_of, made
from interp_explorer.widgets.text import escaped


REASONS = {
    "entropy": "candidate entropy neuron",
    "control": "random neuron of a candidate's norm",
    "frequency": "token-frequency neuron",
}
WEIGHTS = escaped(
    "norm: length of what it writes. logit_var: variance of its cosines with the rows "
    "of the head (LogitVar), small where it moves all logits alike. null_fraction: "
    "share of its length in the null space of the head. frequency_cosine: cosine of "
    "what it adds to the logits with token frequency."
)
# So many options a box can hold, and a figure's points be chosen among.
MOST_NEURONS = 20_000


def neuron_names(result: ConfidenceComparison | NeuronTable) -> tuple[str, ...]:
    """The neurons that can be chosen: all, or the tested ones of a very wide model."""
    count = result.norm.shape[-1]
    if count <= MOST_NEURONS:
        return tuple(str(number) for number in range(count))
    if isinstance(result, NeuronTable):
        return tuple(str(number) for number in sorted(result.candidates.tolist()))
    tested = {row.neuron for row in result.effects}
    return tuple(str(n) for n in sorted(tested.union(*result.candidates)))


def show_weights(result: ConfidenceComparison | NeuronTable, neuron: int) -> None:
    """What the weights say of a neuron, beside the middle of all neurons.

    Args:
        result: One model's neurons, or the comparison of two.
        neuron: Which one.
    """
    frame = result.to_dataframe()
    if "model" not in frame:
        frame.insert(0, "model", result.models[0])
    names = [
        name
        for name in ("norm", "logit_var", "null_fraction", "frequency_cosine")
        if name in frame
    ]
    own = frame[frame["neuron"] == neuron].drop(columns=["layer", "neuron"])
    middle = frame.groupby("model", sort=False)[names].median().reset_index()
    middle["model"] = [f"{name}, median neuron" for name in middle["model"]]
    show_table(
        pd.DataFrame(pd.concat([own, middle])),
        key="c_weights",
        name=f"neuron-{neuron}-weights",
        alt="What the weights say of the neuron, and of the median neuron.",
    )
    st.caption(WEIGHTS)


def show_effects(result: ConfidenceComparison, neuron: int) -> None:
    """What ablating a neuron does, and which tokens it raises and lowers.

    Args:
        result: The comparison.
        neuron: Which one.
    """
    rows = [row for row in result.effects if row.neuron == neuron]
    if rows:
        reasons = [f"{REASONS[row.chosen]} in {row.model}" for row in rows]
        st.caption(f"Ablated as {'; '.join(reasons)}.")
        show_figure(
            made(partial(entropy_bars, result, neuron)),
            alt="Change of the mean entropy when the neuron is ablated, in all and "
            "with the final norm's scale kept.",
            key="c_entropy",
        )
        frame = result.effects_dataframe()
        names = ["model", "loss_total", "loss_direct", "mediated", "kl"]
        # A neuron may have been ablated for two reasons, with the same outcome.
        own = frame.query("neuron == @neuron").drop_duplicates(subset=["model"])
        show_table(
            own.filter([*names, "argmax_changed", "frequency_mediated"]),
            key="c_effects",
            name=f"neuron-{neuron}-effects",
            alt="What ablating the neuron does in each model.",
        )
    else:
        st.caption(
            "It was not ablated: candidates, random neurons of their norm and "
            "token-frequency neurons were."
        )
    for role, column in zip(ROLES, st.columns(2), strict=True):
        with column:
            _show_tokens(result, role, neuron)


def show_shared(result: ConfidenceComparison) -> None:
    """Which candidates two models share, by what counts as a candidate.

    Args:
        result: The comparison.
    """
    most = max(2, min(200, result.norm.shape[1] // 4))
    left, right = st.columns(2)
    with left:
        percentile = st.slider(
            "Norms above this percentile",
            0,
            99,
            int(result.percentile),
            key="c_percentile",
            bind="query-params",
        )
    with right:
        taken = st.slider(
            "Candidates of each model",
            1,
            most,
            min(most, max(1, len(result.candidates[0]))),
            key="c_candidates",
            bind="query-params",
        )
    share = partial(
        shared_neurons, result, percentile=float(percentile), n_candidates=int(taken)
    )
    shared = share()
    st.markdown(
        f"**{shared.shared} shared of {len(shared.rows)}:** intersection over union "
        f"{shared.overlap:.3f}; random sets of that size: {shared.expected:.3f}."
    )
    show_figure(
        Made(figure=rank_slopes(shared), code=f"figures.rank_slopes({code_of(share)})"),
        alt="Ranks of candidates in base and in post, joined by lines.",
        key="c_ranks",
    )
    show_table(
        shared.rows,
        key="c_shared",
        name="shared-neurons",
        alt="Candidates of either model with their ranks in both.",
    )


def _show_tokens(result: ConfidenceComparison, role: Role, neuron: int) -> None:
    tokens = result.tokens_of(role, neuron)
    if tokens is None:
        if role == "base":
            st.caption("Its tokens were not kept. In Python:")
            st.code(
                "from interp import load\n"
                "from interp.neurons import promoted_tokens\n\n"
                f"promoted_tokens(load({result.models[0]!r}), [{neuron}])",
                language="python",
            )
        return
    st.caption(f"Tokens that it raises and lowers in {role}, per unit of activation")
    show_table(
        pd.DataFrame(
            {
                "raises": [repr(token) for token in tokens.up],
                "by": np.array(tokens.up_weights),
                "lowers": [repr(token) for token in tokens.down],
                "by ": np.array(tokens.down_weights),
            }
        ),
        key=f"c_tokens_{role}",
        name=f"neuron-{neuron}-tokens-{role}",
        alt=f"Tokens whose logits the neuron raises and lowers in {role}.",
    )
