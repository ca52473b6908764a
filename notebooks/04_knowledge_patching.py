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
# # 04 Knowledge: causal tracing by activation patching
#
# **Question.** Where does a model store and read a fact: at which token, in which
# layer, in attention or in the MLP? And is one gradient enough to find out?
#
# **Paper.** Meng et al. (2022), *Locating and Editing Factual Associations in GPT*,
# [arXiv:2202.05262](https://arxiv.org/abs/2202.05262), in the form of Du et al. (2025),
# [arXiv:2504.02904](https://arxiv.org/abs/2504.02904); the gradient is attribution
# patching (Nanda, 2023; Syed et al., 2023,
# [arXiv:2310.10348](https://arxiv.org/abs/2310.10348)).

# %%
from functools import partial

import numpy as np
import pandas as pd
import plotly.express as px

import interp


# %%
family = interp.organism.train("facts", size="small")
model = interp.load(family.base)
statements = interp.data.statements(family.statements)
cities = statements.take(np.flatnonzero(statements.columns["topic"] == "city"))

# %% [markdown]
# ## Pairs
#
# A true and a false statement that differ in the subject only, behind the same four
# labelled demonstrations. LD is the logit of " TRUE" minus that of " FALSE" at the last
# token. What could not be paired is counted, not dropped in silence.

# %%
pairs = interp.data.pair_statements(
    cities, partial(model.tokenize, offsets=True), n_pairs=24
)
print(pairs.shown[0][1])
print(pairs.labels)
pairs.to_dataframe()[["true", "false"]].head(3)

# %%
pairs.dropped_dataframe()

# %% [markdown]
# ## The map
#
# Run the false prompt; at one layer and one token put in what the true prompt had
# there; read LD. 1 means that this one value restores the whole gap, 0 that it does
# nothing. Every cell is exact, at a fraction of the passes: nothing before a patch is
# computed twice.

# %%
prompts = interp.patching.prompt_pairs(pairs)
grid = interp.patching.trace(model, prompts)
print(grid.headline())
saved = grid.naive_token_layers / grid.token_layers
print(f"{saved:.0f} times fewer token-layers than one forward pass per cell")
interp.figures.patch_heatmap(grid)

# %% [markdown]
# Read it from below: the difference is at the subject, and nowhere else, in the first
# layer; it has moved to the object one layer later; to the last token at the end. The
# object is where subject and object meet, the first place where the statement can be
# judged. The same with intervals over subjects:

# %%
roles = interp.patching.role_map(grid, resamples=200)
table = roles.to_dataframe()
columns = ["restoration", "restoration_low", "restoration_high"]
where = table["role"].isin(["subject last", "object last", "last"])
table[where].set_index(["role", "layer"])[columns].round(2)

# %% [markdown]
# ## Which part
#
# The stream only carries. Who moves it? The same patch on what attention wrote, and on
# what the MLP wrote.

# %%
parts = interp.patching.trace(model, prompts, sites=("attn_out", "mlp_out"))
interp.figures.patch_heatmap(parts, unit=0)

# %%
interp.figures.patch_heatmap(parts, unit=1)

# %% [markdown]
# At the subject it is the first MLP: it looks something up. Attention of the next layer
# brings it to the object, where that layer's MLP works on it, and in the last layer
# attention takes it to the last token.
#
# ## Exact against one gradient
#
# Attribution patching replaces every run by one backward pass: the change of LD to
# first order. For a large model with long prompts that may be all one can afford, so
# look here where it errs.

# %%
estimate = interp.patching.attribute(model, prompts)
cells = pd.DataFrame(
    {
        "exact": (grid.ld[0] - grid.unpatched_ld[:, None, None]).ravel(),
        "gradient": (estimate.ld[0] - estimate.unpatched_ld[:, None, None]).ravel(),
        "layer": np.broadcast_to(grid.layers[:, None], grid.ld[0].shape).ravel(),
    }
).dropna()
pd.Series(
    {
        layer: np.corrcoef(of_layer["exact"], of_layer["gradient"])[0, 1]
        for layer, of_layer in cells.groupby("layer")
    },
    name="correlation",
).rename_axis("layer").round(2).to_frame()

# %%
px.scatter(
    cells.astype({"layer": str}),
    x="exact",
    y="gradient",
    color="layer",
    opacity=0.6,
    height=420,
    labels={"exact": "exact change of LD", "gradient": "first-order estimate"},
)

# %% [markdown]
# On the diagonal the two agree. What lies flat on the right is a patch that decides
# everything, and of which the gradient sees little: between two facts the model does
# not go in a straight line. So screen with the gradient, then confirm the winners
# exactly; `interp.patching.screen` does so and reports the correlation on a sample.

# %%
screening = interp.patching.screen(model, prompts, sample=8)
print("on 8 pairs: Pearson", screening.pearson, "Spearman", screening.spearman)

# %% [markdown]
# ## What holds here, and what would falsify it
#
# Three identities hold for *any* causal model. A map that breaks one is wrong, whatever
# story it tells; `trace` compares cells with whole forward passes before it starts.

# %%
change = grid.ld[0] - grid.unpatched_ld[:, None, None]
subject = grid.roles[0].index("subject[0]")
assert np.abs(change[:, :, :subject]).max() < 1e-3, "before the first difference"
assert np.abs(change[:, -1, :-1]).max() < 1e-3, "last layer, not the last token"
assert np.abs(grid.ld[0][:, -1, -1] - grid.other_ld).max() < 1e-3, "last layer, last"
read = {"subject last": 0, "object last": 2, "last": 3}
level = [roles.restoration[at, roles.columns.index(role)] for role, at in read.items()]
assert min(level) > 0.8
dict(zip(read.items(), np.round(level, 3).tolist(), strict=True))

# %% [markdown]
# "The fact is looked up at the subject and judged at the object" would be false if
#
# * patching the reverse way (`direction="noise"`) told another story: denoising finds
#   what suffices, noising what is needed;
# * another corruption than another subject gave another map, or pairs of other topics;
# * the map were that of the position and not of the role: `interp.patching.compare`
#   holds maps against noise floors, shifted layers and permuted columns, since even a
#   map shifted by one layer correlates highly with itself;
# * freezing the pieces named here left the behaviour as it was. That is the next step.
#
# **Next.** `08_base_vs_post_trained` compares this map with the post-trained model's;
# `interp study knowledge CONFIG.toml` patches across models as well. In the explorer:
# the page *Knowledge*.
