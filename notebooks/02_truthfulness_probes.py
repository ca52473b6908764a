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
# # 02 Truthfulness probes
#
# **Question.** In which layers is the truth of a statement linear, and is it *truth*:
# does a probe that was fitted on one topic read another one?
#
# **Paper.** Marks & Tegmark (2023), *The Geometry of Truth*,
# [arXiv:2310.06824](https://arxiv.org/abs/2310.06824). The controls are those of Hewitt
# & Liang (2019), [arXiv:1909.03368](https://arxiv.org/abs/1909.03368), and of Voita &
# Titov (2020), [arXiv:2003.12298](https://arxiv.org/abs/2003.12298).

# %%
from dataclasses import asdict

import numpy as np
import pandas as pd

import interp
import probes


# %%
family = interp.organism.train("facts", size="small")
model = interp.load(family.base)
statements = interp.data.statements(family.statements)
topics = statements.columns["topic"].to_numpy()
statements.columns.assign(true=statements.labels).groupby("topic")["true"].agg(
    ["size", "mean"]
)

# %% [markdown]
# Four topics, half of the statements true in each, and every subject occurs with a true
# and with a false object. So neither the subject nor the object alone tells anything; a
# data set in which they do is the usual way to fool oneself.
#
# First ask the model. It says " Right." or " Wrong." behind a statement:

# %%
expected = np.where(statements.labels, " Right.", " Wrong.")
said = np.array(model.generate(statements.prompts, max_new_tokens=2, batch_size=256))
right = pd.DataFrame({"topic": statements.columns["topic"], "right": said == expected})
right.pivot_table("right", index="topic").round(3)

# %% [markdown]
# In its training text no statement about a `thing` ever had a label, and there the
# model is near a coin. It knows those facts: it completes them. It does not judge them.
# Keep that in mind below.
#
# ## Where
#
# The last token is the full stop. A probe for each layer is scored on subjects that it
# was not fitted on.

# %%
acts = interp.capture(model, statements.prompts, sites=["embed", "resid_post.*"])
controls = probes.Controls(
    texts=statements.prompts, selectivity=True, erasure=True, permutations=100
)
sweep = probes.sweep(
    acts,
    statements.labels,
    groups=statements.groups,
    fit=probes.fit_mean_difference,
    controls=controls,
)
print(sweep.headline())
interp.figures.probe_curve(sweep)

# %% [markdown]
# An AUROC is worth what it is worth beside its controls. Each column answers one doubt:
#
# * `random_auroc`: would any direction do? (95 % of random directions stay below it;
#   `covariance_auroc` is the same, drawn as the activations vary)
# * `permutation_p_corrected`: would shuffled labels do, at the best of all layers?
# * `selectivity`: could this probe as well learn arbitrary labels of each subject?
# * the second table: do the words alone, or the length, give it away?

# %%
columns = ["auroc", "auroc_lo", "auroc_hi", "random_auroc", "covariance_auroc"]
columns += ["permutation_p_corrected", "selectivity"]
sweep.to_dataframe().set_index("site")[columns].round(3)

# %%
sweep.baselines_dataframe().round(3)

# %% [markdown]
# Mind `covariance_auroc` in the late layers: one random direction in twenty does as
# well as the probe. That does not make the probe wrong. It says that truth is much of
# what varies at this token of this tiny model, so that a high AUROC is *cheap* here,
# and no evidence for one special direction. What could be evidence:
#
# ## Transfer
#
# Probes of each topic on each topic. The last row is fitted on all topics but the one
# of its column.

# %%
by_topic = {name: topics == name for name in np.unique(topics)}
matrix = probes.transfer_matrix(
    {name: acts.select(np.flatnonzero(at).tolist()) for name, at in by_topic.items()},
    {name: statements.labels[at] for name, at in by_topic.items()},
    groups={name: np.array(statements.groups)[at] for name, at in by_topic.items()},
    fit=probes.fit_mean_difference,
    resamples=200,
)
print(matrix.headline())
interp.figures.transfer_heatmap(matrix)

# %% [markdown]
# The column of `thing` stands out: no probe reads there what the model cannot say
# there. Within the three topics with labels a probe carries over to topics that it
# never saw; to the fourth it does not. By layer, fitted on all topics but one:

# %%
left_out = pd.DataFrame(matrix.left_out.T, matrix.sites, matrix.tests)
left_out.round(2)

# %% [markdown]
# ## One direction, or more?
#
# Erase the best linear trace of truth, then fit a fresh probe. LEACE is the smallest
# change after which no linear probe can tell the classes of the *training* folds; INLP
# takes out one probe after the other. What a fresh probe reads on the folds left out
# was not in the erased directions.

# %%
erased = pd.DataFrame([asdict(row) for row in sweep.erasures])
erased.insert(0, "site", [sweep.sites[at] for at in erased.pop("probe")])
erased.round(3)

# %% [markdown]
# LEACE leaves nothing for this probe, INLP leaves nearly everything: it takes out the
# directions of its own regressions, which are not that of the means. "Eight directions
# were removed and truth is still readable" would have been a wrong conclusion.
#
# ## Read is not used
#
# Erase truth while the model runs, at the full stop, and ask again, on the topics where
# it could answer.

# %%
asked = np.flatnonzero(topics != "thing")[::7]
sample = statements.take(asked)
use = {("nothing", ""): float(np.mean(said[asked] == expected[asked]))}
for fit in (interp.directions.fit_leace, interp.directions.fit_inlp):
    for site in ("resid_post.2", "resid_post.3"):
        eraser = fit(acts[site], statements.labels, site=site)
        with interp.erase(model, eraser, positions="last"):
            words = np.array(model.generate(sample.prompts, max_new_tokens=2))
        use[eraser.method, site] = float(np.mean(words == expected[asked]))
pd.Series(use, name="right answers").round(3).to_frame()

# %% [markdown]
# At layer 2 a probe reads truth, and erasing it there changes no answer: what decides
# the answer is still on its way, from other tokens or along other directions. At layer
# 3 erasing it makes the answers a coin toss. A probe alone cannot tell the two apart.

# %% [markdown]
# ## What holds here, and what would falsify it

# %%
surface = max(baseline.auroc_hi for baseline in sweep.baselines)
assert sweep.auroc_lo[sweep.best] > surface
best = sweep.best_site
labelled = left_out.loc[best, ["animal", "city", "person"]]
assert labelled.min() > 0.8
assert left_out.loc[best, "thing"] < labelled.min()
assert erased["auroc"].to_numpy().min() < 0.6 < sweep.auroc[sweep.best]
assert use["leace", "resid_post.2"] > 0.9 > 0.7 > use["leace", "resid_post.3"]

# %% [markdown]
# "The model represents truth as a direction" would be false, or another claim, if
#
# * probes were at chance on topics that they did not see: then each topic has a
#   direction of its own, and *truth* is our word for several things. **For the fourth
#   topic it is false here**: this model has a direction for "would be called right in a
#   text like those I saw", and that is less than truth;
# * the words alone did as well, or a random split hid that subjects repeat;
# * negated statements turned the direction round: then it is about "goes together" and
#   not about truth ([Bürger et al., 2024](https://arxiv.org/abs/2407.12831);
#   `probes.fit_ttpd`). These statements have no negations, so this page cannot tell;
# * erasing it left the answers as they were: read, but not used.
#
# A last-layer direction is close to the words that come next, so "used" is a weak claim
# here: `04` patches, `08` pushes at earlier layers and at other tokens. And a model of
# half a million parameters that was trained to comment on truth is *made* to pass. The
# question is worth asking of a model that was not: replace `family.base` by a hub id
# and `family.statements` by your file.
#
# **Next.** `interp study truthfulness CONFIG.toml` adds CCS, TTPD, interventions and a
# second model; `08_base_vs_post_trained` does that here. In the explorer: the page
# *Truthfulness* of `interp explore DIR`.
