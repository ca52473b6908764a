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
# # 00 Quickstart
#
# **Question.** Does a model keep, somewhere inside, whether what it just read is true?
# And if it does: can I read it, and can I change what the model says by pushing on it?
#
# **Paper.** Marks & Tegmark (2023), *The Geometry of Truth*,
# [arXiv:2310.06824](https://arxiv.org/abs/2310.06824); steering after Turner et al.
# (2023), [arXiv:2308.10248](https://arxiv.org/abs/2308.10248).
#
# From nothing to a probe, a steered sentence and a coloured strip, in three minutes on
# a laptop's CPU. There is nothing to download: the model is trained here.

# %%
import numpy as np

import interp
import probes


# %% [markdown]
# ## A model with something to find
#
# `interp.organism` trains a tiny model on facts of an invented world, and on comments
# that say whether a statement is right. The first call trains it, later ones find it
# under `INTERP_HOME` (`~/.cache/interp` by default). Any hub id or folder would do in
# place of `family.base`.

# %%
family = interp.organism.train("facts", size="small")
model = interp.load(family.base)
model

# %%
true, false = (
    "The city of Duriville is in Lebreia.",
    "The city of Duriville is in Nutriia.",
)
model.generate([true, false], max_new_tokens=2)

# %% [markdown]
# After a full stop the model says whether the statement was right. So it must know, at
# that full stop, by then at the latest. Where?
#
# ## Read
#
# Statements, each with a label and with the thing that it is about; then the residual
# stream behind every layer, at the last token.

# %%
statements = interp.data.statements(family.statements)
statements.to_dataframe().head(4)

# %%
acts = interp.capture(model, statements.prompts, sites="resid_post.*", positions="last")
print(acts["resid_post"].shape, "= example, layer, d_model")
acts.tokens(0)

# %% [markdown]
# ## Probe
#
# One probe per layer. Every score is held out, and no subject is in two folds: a probe
# that has seen "Duriville is in Lebreia" learns nothing from it about other cities. The
# dotted lines are what the words alone give away, and what one random direction in
# twenty reaches.

# %%
sweep = probes.sweep(
    acts,
    statements.labels,
    groups=statements.groups,
    controls=probes.Controls(texts=statements.prompts),
)
print(sweep.headline())
interp.figures.probe_curve(sweep)

# %%
table = sweep.to_dataframe()
table[["site", "auroc", "auroc_lo", "auroc_hi", "random_auroc", "permutation_p"]]

# %% [markdown]
# The rise between two layers is the finding. The last column but one is a warning: in
# the late layers of this tiny model one *random* direction in twenty does nearly as
# well as the probe, since there is little else to represent at a full stop. A high
# AUROC alone would not be evidence for one special direction; `02` goes on from here.
#
# ## Push
#
# A direction is the mean of the true minus the mean of the false. Its length is the
# unit of `steer`: strength 1 moves an example by the distance between the classes.

# %%
truth = interp.directions.mean_difference(acts, statements.labels, site=sweep.best_site)
truth

# %%
with interp.steer(model, truth, strength=-1.0, positions="last"):
    less_true = model.generate([true, false], max_new_tokens=2)
with interp.steer(model, truth, strength=+1.0, positions="last"):
    more_true = model.generate([true, false], max_new_tokens=2)
less_true, more_true

# %% [markdown]
# The words turn around. But does it take *this* direction? The control has equal length
# and another, random way to point.

# %%
draw = np.random.default_rng(0).normal(size=model.d_model).astype(np.float32)
other = interp.directions.Direction.from_vector(
    draw / np.linalg.norm(draw) * truth.scale, site=truth.site
)
with interp.steer(model, other, strength=-1.0, positions="last"):
    print(model.generate([true, false], max_new_tokens=2))

# %% [markdown]
# ## See
#
# The same direction at every token, in the unit of `steer`: +0.5 is the mean of the
# true statements, -0.5 that of the false ones (hover for the numbers). It was fitted at
# the last token only, so its value at any other one means less.

# %%
reader = interp.streaming.reader_of(truth, name="truth")
strips = []
for text in (true, false):
    read = interp.streaming.token_scores(model, text, [reader])
    strips.append(
        interp.figures.token_strip(
            read.tokens, read.scores[0], limit=1.0, label="truth"
        )
    )
interp.figures.Html("".join(strips))

# %% [markdown]
# ## What holds here, and what would falsify it
#
# What the tiny model can show, checked each time this page runs:

# %%
assert sweep.auroc_lo[sweep.best] > sweep.baselines[0].auroc_hi
assert less_true == [" Wrong."] * 2
assert more_true == [" Right."] * 2

# %% [markdown]
# It would be false, or about something else, if
#
# * bag of words did as well: then the statements differ in more than their truth;
# * the probe failed on topics it was not fitted on (see `02_truthfulness_probes`);
# * random vectors of equal length turned the words around as well;
# * pushing worked only at the last layer: then the direction is about the *words* that
#   come next. Here the best site is that layer, so this page cannot rule it out.
#
# **Next.** `01_sites_and_capture` for what can be read; `02` for whether truth
# transfers; `07_steering_and_streaming_probes` to watch and push token by token.
# `interp explore DIR` shows saved results in the browser, `interp demo` runs everything
# at once.
