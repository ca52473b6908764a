"""Figures of lenses, contributions and pairs of texts show the numbers given."""

from typing import Any, get_args

import numpy as np
import pytest

from interp import figures
from interp.errors import ResultError
from interp.figures.lens import MAX_CELLS
from interp.results.lens import LensQuantity, LensReading, LogitContributions
from interp.results.streams import SideBySide, TokenScores, WrittenText


WORDS = {0: "<b>x</b>", 1: " Paris", 2: "\n", 3: " a very long word"}
SHOWN = {0: "&lt;b>x&lt;/b>", 1: "·Paris", 2: "⏎", 3: "·a·very·…"}


def reading(n_layers: int = 3, n_tokens: int = 4, *, asked: bool = True) -> LensReading:
    rng = np.random.default_rng(0)
    shape = (n_layers + 2, n_tokens)
    top_ids = rng.integers(0, 4, (*shape, 2)).astype(np.int32)
    said = -rng.random((4, *shape)).astype(np.float32)
    following = said[0].copy()
    following[:, -1] = np.nan
    ranks = rng.integers(1, 5000, shape).astype(np.int32)
    ranks[:, -1] = 0
    empty = np.zeros((shape[0], 0), dtype=np.float32)
    ids = tuple(int(i) for i in rng.integers(0, 4, n_tokens))
    return LensReading(
        model="tiny",
        layers=("embed", *map(str, range(n_layers)), "output"),
        positions=tuple(range(n_tokens)),
        tokens=tuple(WORDS[i] for i in ids),
        token_ids=ids,
        top_ids=top_ids,
        top_log_probabilities=-np.sort(rng.random((*shape, 2)), -1).astype(np.float32),
        entropy=rng.random(shape).astype(np.float32),
        kl=rng.random(shape).astype(np.float32),
        next_log_probability=following,
        next_rank=ranks,
        target=1 if asked else None,
        distractor=2 if asked else None,
        target_log_probability=said[1] if asked else empty,
        target_rank=ranks if asked else empty.astype(np.int32),
        difference=said[1] - said[2] if asked else empty,
        vocabulary=WORDS,
    )


@pytest.mark.parametrize("show", get_args(LensQuantity))
def test_the_map_colours_one_quantity_and_writes_the_likeliest_token(show):
    given = reading()
    figure: Any = figures.lens_heatmap(given, show=show)
    heat, written = figure.data
    values = given.quantity(show)
    right = np.log10(values) if show == "rank" else values
    np.testing.assert_array_equal(heat.z, right)
    assert heat.z.dtype == np.float32
    assert heat.zmin <= np.nanmin(heat.z)
    assert heat.zmax >= np.nanmax(heat.z)
    assert written.hoverinfo == "skip"
    assert len(written.text) == values.size
    assert written.text == tuple(SHOWN[i] for i in given.top_ids[:, :, 0].ravel())
    assert figure.layout.yaxis.ticktext == given.layers
    assert figure.layout.xaxis.tickvals == (0, 1, 2, 3)
    np.testing.assert_array_equal(heat.customdata[2, 1], [2, 1])


def test_a_difference_is_pinned_at_zero_and_named_by_its_tokens():
    figure: Any = figures.lens_heatmap(reading(), show="difference")
    assert figure.data[0].zmid == 0
    assert -figure.data[0].zmin == figure.data[0].zmax
    assert figure.layout.title.text == "Logit of '·Paris' minus logit of '⏎'"


def test_tokens_are_shown_letter_for_letter():
    given = reading()
    figure: Any = figures.lens_heatmap(given)
    said = " ".join([*figure.data[1].text, *figure.layout.xaxis.ticktext])
    said += " ".join(text for row in figure.data[0].hovertext for text in row)
    assert "<b>" not in said
    assert "&lt;b>x" in said
    cell = figure.data[0].hovertext[1][2]
    assert f"entropy (nats): {given.entropy[1, 2]:.3g}" in cell
    assert f"{np.exp(given.top_log_probabilities[1, 2, 0]):.3f}" in cell


def test_many_tokens_leave_no_room_for_words():
    figure: Any = figures.lens_heatmap(reading(n_tokens=40))
    assert len(figure.data) == 1
    assert figure.layout.xaxis.range == (-0.5, 39.5)


def test_of_very_many_cells_every_few_layers_are_shown_and_the_title_says_so():
    given = reading(n_layers=60, n_tokens=700)
    figure: Any = figures.lens_heatmap(given, show="kl")
    heat = figure.data[0]
    assert heat.z.size <= MAX_CELLS
    assert "every 3 layers" in figure.layout.title.text
    np.testing.assert_array_equal(heat.z[-1], given.kl[-1])
    np.testing.assert_array_equal(heat.z[-2], given.kl[-4])
    assert figure.layout.height <= 1000


def test_what_was_not_read_cannot_be_shown():
    with pytest.raises(ResultError, match="without a target"):
        figures.lens_heatmap(reading(asked=False), show="target")


def contributions() -> LogitContributions:
    names = ("embed", "attn_out.0", "mlp_out.0", "attn_out.1", "mlp_out.1", "edits")
    values = np.arange(14, dtype=np.float32).reshape(7, 2) - 5
    return LogitContributions(
        model="tiny",
        target=1,
        distractor=None,
        names=(*names, "bias"),
        positions=(3, 5),
        tokens=("a",) * 6,
        values=values,
        total=values.sum(0),
        logit=values.sum(0),
        vocabulary=WORDS,
    )


def test_bars_show_every_part_once_where_its_layer_is():
    given = contributions()
    figure: Any = figures.contribution_bars(given, column=0)
    attention, mlp, others = figure.data
    assert attention.y.tolist() == given.values[[1, 3], 0].tolist()
    assert mlp.y.tolist() == given.values[[2, 4], 0].tolist()
    assert others.y.tolist() == given.values[[0, 5, 6], 0].tolist()
    assert attention.x.tolist() == mlp.x.tolist() == [0, 1]
    assert others.x.tolist() == [-1, 2, 3]
    ticks = dict(
        zip(figure.layout.xaxis.tickvals, figure.layout.xaxis.ticktext, strict=True)
    )
    assert ticks == {-1: "embed", 0: "0", 1: "1", 2: "edits", 3: "bias"}
    assert figure.layout.title.text == f"Logit of '·Paris' at token 3: {7.0:+.2f}"
    last: Any = figures.contribution_bars(given)
    assert last.data[0].y.tolist() == given.values[[1, 3], 1].tolist()
    with pytest.raises(ResultError, match="no position 2"):
        figures.contribution_bars(given, column=2)


def written(n: int) -> WrittenText:
    return WrittenText(
        token_ids=(1,) * n,
        tokens=(" Paris",) * n,
        text=" Paris" * n,
        log_probability=np.log(np.linspace(0.1, 0.9, n, dtype=np.float32)),
        scores=np.zeros((0, n), dtype=np.float32),
    )


@pytest.mark.parametrize("n", [5, 1, 0])
def test_the_divergence_is_drawn_token_by_token(n):
    prompt = TokenScores(
        token_ids=(1,),
        tokens=(" Paris",),
        readers=(),
        units=(),
        scores=np.zeros((0, 1), dtype=np.float32),
        first=np.array([True]),
        template=np.array([False]),
    )
    given = SideBySide(
        model="tiny",
        prompt=prompt,
        unchanged=written(2),
        steered=written(n),
        kl=np.arange(n, dtype=np.float32),
        unchanged_log_probability=np.full(n, np.log(0.25), dtype=np.float32),
    )
    figure: Any = figures.divergence_curve(given)
    (curve,) = figure.data
    np.testing.assert_array_equal(curve.y, given.kl)
    assert figure.layout.xaxis.ticktext == ("·Paris",) * n
    np.testing.assert_allclose(curve.customdata[:, 1], 0.25, rtol=1e-6)
