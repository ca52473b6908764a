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
# # 09 Bring your own model
#
# **Question.** My architecture is in nobody's list, my checkpoints are in a folder, my
# model is too large for this machine. Which of the other pages still hold, and how
# would I know?
#
# **Paper.** That silent differences between implementations are the rule is the lesson
# of the libraries themselves; checking on load is after NNsight and nnterp
# (Fiotto-Kaufman et al., 2024, [arXiv:2407.14561](https://arxiv.org/abs/2407.14561);
# Dumas, 2025, [arXiv:2511.14465](https://arxiv.org/abs/2511.14465)).

# %%

import pandas as pd
import torch
from transformers import AutoConfig, AutoModelForCausalLM

import interp
import probes
from interp.heads import Measured, find_series


# %% [markdown]
# ## An architecture that no adapter knows
#
# Any causal language model of `transformers`, in memory or in a folder. This one is
# Helium, for which TransformerLens has no adapter; its weights are random, which is
# enough to ask whether sites are where we think. A tokenizer is not needed: prompts may
# be ids.

# %%
size = {
    "vocab_size": 320,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
with torch.random.fork_rng():
    torch.manual_seed(0)
    config = AutoConfig.for_model("helium", head_dim=16, **size)
    mine = interp.load(AutoModelForCausalLM.from_config(config))
mine

# %%
report = interp.models.check(mine)
print("sites found by:", report.source)
pd.DataFrame(
    [(one.name, one.passed, one.error, one.detail) for one in report.checks],
    columns=["check", "passed", "relative error", "what"],
)

# %% [markdown]
# Where there is no adapter the blocks are found by structure and common names. That is
# a guess, and the table is what makes it more: each line compares with something that
# is not ours (Hugging Face's hidden states, rows of attention that add up to one, a
# prompt alone against the same in a batch). `interp doctor MODEL` prints it for a
# folder or a hub id.
#
# With that, everything else works by the same names:

# %%
ids = [[7, 11, 13, 17, 19], [23, 29, 31]]
acts = interp.capture(mine, ids, sites=["resid_post.*", "z.1"], positions="last")
print({name: tuple(value.shape) for name, value in acts.values.items()})
direction = acts["resid_post.1"][0] - acts["resid_post.1"][1]
with interp.ablate(mine, direction):
    without = interp.capture(mine, ids, sites="resid_post.*")["resid_post"]
left = (without @ direction / direction.norm()).abs().max()
print(f"left of the direction in any layer: {float(left):.1e}")

# %% [markdown]
# ## One that fails
#
# Granite scales what each branch adds to the stream. No module's output is then the
# write itself, and projecting a direction out of the writes would leave some of it
# behind. The check sees it, and ablation refuses to pretend:

# %%
with torch.random.fork_rng():
    torch.manual_seed(0)
    config = AutoConfig.for_model("granite", residual_multiplier=0.5, **size)
    scaled = interp.load(AutoModelForCausalLM.from_config(config))
failing = interp.models.check(scaled)
print([one.name for one in failing.checks if not one.passed])
refusal = ""
try:
    with interp.ablate(scaled, direction):
        pass
except interp.InterpError as error:
    refusal = str(error)
refusal

# %% [markdown]
# What needs no sum of writes still works there: capture, steering, patching, and
# ablation at sites that you name yourself.
#
# ## Your own checkpoints
#
# A folder of checkpoints as trainers write them, or the revisions of a hub repository,
# is a series. Steps come from the names.

# %%
family = interp.organism.train("facts", size="small")
series = find_series(family.folder / "checkpoints")
[(one.name, one.step) for one in series.checkpoints]

# %% [markdown]
# Follow anything over it: a metric is a function of a model. Here, how well a probe
# tells true from false at the last layer, at every checkpoint; the interval is over
# statements.

# %%
statements = interp.data.statements(family.statements).take(range(160))


def truth_probe(model, context):
    acts = interp.capture(model, statements.prompts, sites="resid_post.*")
    rows = acts["resid_post"][:, [-1]]
    sweep = probes.sweep(rows, statements.labels, groups=statements.groups)
    right = (sweep.scores[0] > 0) == statements.labels
    return Measured(values={"held-out accuracy": right.astype("float32")})


# %%
timeline = interp.heads.track(series, metrics=[truth_probe])
print(timeline.headline())
interp.figures.timeline_curves(timeline, ["held-out accuracy"])

# %% [markdown]
# ## Larger than this machine
#
# * **It fits on the disks, not on one card.** `interp.load(..., device="balanced")`
#   spreads the layers as `accelerate` does; rows are gathered where they arise and
#   copied once.
# * **It fits, the activations do not.** Ask for fewer sites and positions, or write a
#   store: `interp capture MODEL DATA --out STORE` plans the bytes, resumes, and is read
#   by memory mapping. `interp.neurons.entropy_neurons("org/model")` reads three
#   matrices.
# * **It does not fit at all, or is served elsewhere.** Have
#   [nnsight](https://nnsight.net) run it, here or on NDIF:
#   `interp.load("org/model", backend="nnsight", remote=True)` is captured, edited and
#   generated from with the same calls (`docs/batch.md` says what it refuses). For a
#   model that loads here, hooks are simpler and stop the pass at the last site needed.
#
# Probes, directions, transfer matrices and the comparison of patching maps need no
# model:

# %%
rows = interp.capture(interp.load(family.base), statements.prompts)["resid_post"]
plain = probes.sweep(rows.numpy(), statements.labels, groups=statements.groups)
print(plain.headline())
plain.to_dataframe()[["site", "auroc", "auroc_lo", "auroc_hi"]].round(3)

# %% [markdown]
# ## What holds here, and what would falsify it

# %%
accuracy = timeline.curve("held-out accuracy").astype(float)
assert report.passed, "sites of an architecture without adapter"
assert report.source == "structure"
assert float(left) < 1e-4
assert not failing.passed, "a model that scales its writes is noticed"
assert "sum" in refusal or "writes" in refusal
assert accuracy[0] < 0.65 < 0.9 < accuracy[-1]
dict(zip(timeline.steps.tolist(), accuracy.round(2).tolist(), strict=True))

# %% [markdown]
# "It works on my model" would be false if
#
# * one check failed: each line says which pages that takes away;
# * all checks passed and the model still has parts that no site covers (experts,
#   memory, a second stream): the check is about what is claimed, not about what is left
#   out;
# * your checkpoints differ in their tokenizer or template: a direction found on one set
#   of tokens says nothing on another. Provenance holds the hashes of both;
# * random weights hid what trained ones show. Run `interp doctor` on the trained model.
#
# **Next.** `01_sites_and_capture` for what can be read, `06_induction_timeline` for
# series with attention heads, `10_interchange` for rows and directions from elsewhere.
