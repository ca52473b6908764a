# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 06 When do induction heads appear?
#
# **Question.** A model that repeats "A B ... A" with "B" has heads that look back
# behind the earlier A. When in training do they appear, suddenly or slowly, and in
# which order with what they are made of?
#
# **Paper.** Olsson et al. (2022), *In-context Learning and Induction Heads*,
# [arXiv:2209.11895](https://arxiv.org/abs/2209.11895).
#
# An induction circuit takes two heads. A *previous-token head* writes, at each token,
# which one came before; in a later layer an *induction head* looks for the place where
# what came before is the present token (*prefix matching*) and *copies* what stands
# there.

# %%
import numpy as np

import interp
from interp.heads import (
    AttentionScores,
    CopyingByWeights,
    Losses,
    SequenceSpec,
    StrongestComposition,
)


# %%
family = interp.organism.train("induction", size="small")
model = interp.load(family.base)
print(model)
[checkpoint.name for checkpoint in family.checkpoints]

# %% [markdown]
# ## The end of training
#
# Blocks of distinct random tokens, repeated. Nothing in the first copy can be known,
# everything in the second one can, by looking back. The lengths of the blocks are those
# that this model was trained on; other lengths would be a question of their own.

# %%
lengths = SequenceSpec(n_sequences=48, n_tokens=48, periods=(6, 16))
sequences = interp.heads.repeated_tokens(
    model, n_sequences=48, n_tokens=48, periods=(6, 16)
)
scores = interp.heads.score(model, sequences)
print(scores.headline())
interp.figures.copy_curve(scores)

# %%
interp.figures.head_map(scores, "prefix_matching")

# %%
interp.figures.head_map(scores, "previous_token")

# %% [markdown]
# Attention shows what a head looks at, not what it is good for. So take each head out,
# one at a time: replaced by its mean, and again while all later heads keep looking
# where they looked (`pattern_preserving`). A previous-token head that serves an
# induction head should matter in the first way and not in the second: it tells the
# later head *where* to look, and nothing else.

# %%
ablated = interp.heads.ablate_heads(
    model, sequences, kinds=("mean", "pattern_preserving"), resamples=200
)
print(ablated.headline())
interp.figures.ablation_routes(ablated)

# %% [markdown]
# ## The way there
#
# The same scores at every checkpoint, on the same sequences, with copying and key
# composition from the weights. `interp track SERIES --out DIR` does this from the
# command line, for a folder or for the revisions of a hub model, and resumes.

# %%
timeline = interp.heads.track(
    family.folder / "checkpoints",
    metrics=(AttentionScores(), Losses(), CopyingByWeights(), StrongestComposition()),
    sequences=lengths,
)
print(timeline.headline())
followed = ["copy_accuracy"] + [
    f"{name} (highest head)" for name in ("prefix_matching", "previous_token")
]
interp.figures.timeline_curves(timeline, followed)

# %% [markdown]
# Shaded: where the curve changes. A transition is claimed only if a logistic curve
# describes it better than a line and an exponential do, from a flat start. "No
# transition" is an allowed answer, and some curves get it:

# %%
phases = timeline.phases_dataframe().query("estimator == 'logistic midpoint'")
columns = ["curve", "verdict", "step", "step_lo", "step_hi"]
columns += ["after_checkpoint", "before_checkpoint", "reason"]
phases[columns].round(0)

# %% [markdown]
# Two intervals that must not be mixed. `step_lo` to `step_hi` is the noise of
# evaluation: which sequences were drawn. `after_checkpoint` to `before_checkpoint` is
# the grid: no checkpoint in between was measured, and all claims are at least that
# wide. A third one, the seed of training, is not here at all: that takes more runs.
#
# ## In which order
#
# Lags are differences with paired draws, so they are sharper than the times themselves;
# `unresolved` marks those that are shorter than the grid: a shape between two
# checkpoints was assumed, so they say nothing about order. A finer series is needed for
# that.

# %%
lags = timeline.lags_dataframe().query("estimator == 'threshold crossing'")
lags[["first", "second", "steps", "steps_lo", "steps_hi", "unresolved"]].round(0)

# %% [markdown]
# ## Which heads
#
# Every head at every checkpoint, and the way of the highest ones through the plane of
# matching and copying.

# %%
interp.figures.timeline_map(timeline, "prefix_matching")

# %%
interp.figures.timeline_scatter(timeline)

# %% [markdown]
# What the head that ends highest attends to before, while and after it changes. Lines
# mark the tokens that followed the query's own token before.

# %%
best = timeline.top("prefix_matching", k=1)[0]
interp.figures.attention_steps(timeline, "prefix_matching", best)

# %% [markdown]
# ## What holds here, and what would falsify it

# %%
change = timeline.phase("copy_accuracy")
prefix = timeline.value("prefix_matching")
assert change.verdict == "transition"
assert prefix[0].max() < 0.3 < prefix[-1].max()
assert timeline.top("prefix_matching", k=1)[0].startswith("L1")
assert timeline.top("previous_token", k=1)[0].startswith("L0")
routes = ablated.to_dataframe().set_index(["kind", "layer", "head"])["loss"]
assert routes["mean", 0].max() > 5 * abs(routes["pattern_preserving", 0]).max()
copying = np.round(timeline.curve("copy_accuracy").astype(float), 2)
dict(zip(timeline.steps.tolist(), copying.tolist(), strict=True))

# %% [markdown]
# "Induction heads appear in a phase change" would be false if
#
# * a smooth curve described the data as well: this is tested, and some curves fail;
# * the scores rose on one block length only: then the head knows an offset and does not
#   match. Score several lengths, as here, and lengths outside of training;
# * the head matched but the model did not copy, or copying survived the head's
#   ablation;
# * another seed showed another order. One run of one seed is one observation:
#   `interp.heads.over_runs` joins several.
#
# The grid of this small series is coarse; `train("induction")` without `size` saves a
# checkpoint twice as often.
#
# **Next.** `interp train icl --out DIR` trains many small models with parts of them
# held, to ask what an induction head must wait for (Singh et al., 2024). In the
# explorer: the page *Induction*.
