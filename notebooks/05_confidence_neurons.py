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
# # 05 Confidence neurons
#
# **Question.** Are there neurons that set how sure a model is without changing what it
# says? And if a model has none: would this method have noticed one?
#
# **Paper.** Stolfo et al. (2024), *Confidence Regulation Neurons in Language Models*,
# [arXiv:2406.16254](https://arxiv.org/abs/2406.16254).
#
# An entropy neuron of the last MLP writes with a large norm into directions that the
# unembedding hardly reads. It cannot change what is said, but it lengthens the vector
# that the final norm divides by: every other logit shrinks, and the model is less sure.

# %%
import numpy as np
import plotly.express as px
import torch

import interp


# %%
family = interp.organism.train("facts", size="small")
model = interp.load(family.base)
statements = interp.data.statements(family.statements)
texts = list(np.array(statements.prompts)[statements.labels][:80])

# %% [markdown]
# ## Candidates, from the weights alone
#
# Norm of the output vector against LogitVar, the variance over the vocabulary of its
# cosine with the unembedding. Candidates are the neurons of large norm and small
# LogitVar. Only three matrices are read: `entropy_neurons("EleutherAI/pythia-12b")`
# needs no room for the model.

# %%
table = interp.neurons.entropy_neurons(family.base)
print(table.headline())
interp.figures.neuron_scatter(table)

# %% [markdown]
# There are always ten candidates: "the smallest ten" is a rule, not a finding. In the
# papers' models they lie orders of magnitude below the rest. Here there is no gap, and
# hardly any null space for them to write into:

# %%
interp.figures.singular_values(table)

# %%
frame = table.to_dataframe()
frame.groupby("candidate")[["norm", "logit_var", "null_fraction"]].median()

# %% [markdown]
# ## The frozen norm
#
# The causal test. Set a neuron to its mean and let everything follow: the *total*
# effect on the loss. Do it once more, but divide by the norm as it was: the *direct*
# effect. What of the total is missing then went through the norm. For an entropy neuron
# nearly all of it does. The controls are other neurons of about the same norm.

# %%
chosen = table.candidates
controls = interp.neurons.matched_controls(table.norm, chosen, draws=1, seed=0)[0]
both = [*chosen.tolist(), *controls.tolist()]
effects = interp.neurons.effects(model, texts, both).to_dataframe()
effects["kind"] = np.repeat(["candidate", "matched control"], len(chosen))
effects.groupby("kind")[["loss_total", "loss_direct", "mediated", "kl"]].median()

# %%
figure = px.scatter(
    effects,
    x="loss_total",
    y="loss_direct",
    color="kind",
    hover_name="neuron",
    height=420,
    labels={
        "loss_total": "total effect on the loss (nats)",
        "loss_direct": "with the norm frozen (nats)",
    },
)
reach = float(effects[["loss_total", "loss_direct"]].to_numpy().max())
figure.add_shape(type="line", x0=0, y0=0, x1=reach, y1=reach, line_dash="dot")

# %% [markdown]
# **A null result.** Candidates lie along the dotted line as other neurons do, or a
# little above it, where the norm takes back a part of the effect: none lies far below
# it, where entropy neurons would. This model has none, and by the table above no neuron
# of its last layer does much alone.
#
# ## Would we have noticed?
#
# A null result is worth as much as the method's power. So plant what this model lacks:
# a direction that the head does not hear, and a neuron (the one that varies most) that
# writes into it, three times longer than any other.

# %%
planted = interp.load(family.base)
head, gain = planted.hf.lm_head.weight, planted.hf.model.norm.weight
down = planted.hf.model.layers[-1].mlp.down_proj.weight
site = f"mlp_post.{model.n_layers - 1}"
acts = interp.capture(planted, texts, sites=site, positions="all")
loudest = int(acts[site][acts.mask].std(0).argmax())
with torch.no_grad():
    heard = head * gain
    quiet = torch.linalg.svd(heard - heard.mean(0)).Vh[-1]
    head -= torch.outer(heard @ quiet, quiet / gain)
    down[:, loudest] = 3 * down.norm(dim=0).max() * quiet
loudest

# %%
found = interp.neurons.entropy_neurons(planted)
print(found.headline())
interp.figures.neuron_scatter(found)

# %%
test = interp.neurons.effects(planted, texts, [loudest]).to_dataframe()
columns = ["neuron", "loss_total", "loss_direct", "mediated", "argmax_changed"]
test[columns]

# %% [markdown]
# The planted neuron is the first candidate, its whole effect goes through the norm, and
# it changes no prediction's first place. The method sees one where there is one.
#
# ## How sure is the model, and should it be?

# %%
sure = interp.neurons.token_confidence(model, texts)
error = interp.neurons.calibration_error(
    sure.top, sure.correct, groups=sure.groups, resamples=200
)
bins = interp.neurons.reliability(sure.top, sure.correct)
low, high = float(error.low), float(error.high)
print(f"calibration error {float(error.estimate):.3f} [{low:.3f}, {high:.3f}]")
px.bar(
    x=bins.confidence[bins.n > 0],
    y=bins.accuracy[bins.n > 0],
    labels={"x": "mean top-1 probability in the bin", "y": "share right"},
    range_y=[0, 1],
    height=320,
)

# %% [markdown]
# ## What holds here, and what would falsify it

# %%
medians = effects.groupby("kind")["mediated"].median().to_dict()
assert medians["candidate"] < 0.5, "no candidate works mostly through the norm"
assert found.candidates[0] == loudest, "a planted one is the first candidate"
assert test["mediated"].item() > 0.9, "and works through the norm"
{**medians, "planted": test["mediated"].item()}

# %% [markdown]
# "These neurons regulate confidence" would be false if
#
# * the effect stayed with the norm frozen (it does here: hence the null result);
# * matched neurons of the same norm did the same;
# * ablation changed *which* token is likeliest (`argmax_changed`), not only how sure;
# * the candidates were those of token frequency, which shift towards the unigram
#   distribution: `interp.neurons.frequency_cosines` tells them apart.
#
# And the null result would be false for a larger model: entropy neurons are known from
# models with wide residual streams and large vocabularies, where a null space is cheap.
#
# **Next.** `interp study confidence CONFIG.toml` compares two models and swaps neurons
# between them; `08_base_vs_post_trained` does it here. In the explorer: the page
# *Confidence*.
