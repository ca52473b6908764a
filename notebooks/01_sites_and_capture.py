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
# # 01 Sites and capture
#
# **Question.** What can I read in a model, in which units, and what does it cost? And
# is what I read the same that other libraries read?
#
# **Paper.** The names are TransformerLens' (Nanda & Bloom, 2022,
# [documentation](https://transformerlensorg.github.io/TransformerLens/)), the picture
# of a residual stream that layers write to is from Elhage et al. (2021), *A
# Mathematical Framework for Transformer Circuits*,
# [transformer-circuits.pub](https://transformer-circuits.pub/2021/framework/index.html).

# %%
import time
from functools import partial
from operator import itemgetter

import pandas as pd
import plotly.express as px
import torch

import interp


# %%
family = interp.organism.train("facts", size="small")
model = interp.load(family.base)
print(model)
prompt = "The city of Duriville is in Lebreia."
model.generate([prompt], max_new_tokens=2)

# %% [markdown]
# ## What is there
#
# A *site* is a component at a layer. The short name `resid_post.2` and TransformerLens'
# `blocks.2.hook_resid_post` are one value; `*` and `{1..3}` stand for several. Layers
# count from 0, and `resid_post.2` is Hugging Face's `hidden_states[3]`.

# %%
sites = model.architecture.sites
acts = interp.capture(model, [prompt], sites=sites, positions="all")
layer = [site for site in acts.sites if site.layer == 2 or site.layer is None]
pd.DataFrame(
    {
        "site": [site.short for site in layer],
        "TransformerLens": [str(site) for site in layer],
        "shape [example, pos, ...]": [tuple(acts[site].shape) for site in layer],
        "mean length": [
            float(acts[site].float().norm(dim=-1).mean()) for site in layer
        ],
    }
)

# %% [markdown]
# The residual stream adds up: what a block hands on is what it got, plus what attention
# and MLP wrote. Hence the unit of all residual sites is the same, and a direction found
# in one can be looked for in another. The stream grows with depth, so the length of a
# vector means nothing without the layer it was added at.

# %%
written = acts["resid_pre.2"] + acts["attn_out.2"] + acts["mlp_out.2"]
print("largest difference:", float((written - acts["resid_post.2"]).abs().max()))
lengths = acts["resid_post"][0].norm(dim=-1).numpy()
px.imshow(
    lengths,
    x=[f"{i} {token}" for i, token in enumerate(acts.tokens(0))],
    labels={"x": "token", "y": "layer", "color": "length of<br>resid_post"},
    color_continuous_scale="Viridis",
    height=300,
)

# %% [markdown]
# ## At which token
#
# Positions have names and are relative to real tokens, never to padding. Spans of
# characters give names of your own. Which token was read is always part of the result.

# %%
texts = [prompt, "The animal called Pufoewt is a mollusc."]
spans = {"subject": [(12, 21), (18, 25)]}
for where in ("last", "subject_last", -2, [0, 1]):
    read = interp.capture(model, texts, positions=where, spans=spans)
    print(
        f"{where!s:13}", read.tokens(0), read.tokens(1), tuple(read["resid_post"].shape)
    )

# %% [markdown]
# ## Are these the right numbers?
#
# Two oracles that are not ours. Hugging Face's own hidden states, and the
# TransformerLens bridge, which wraps the same weights in its own hooks.

# %%
ids = torch.tensor(model.tokenize([prompt]).ids)
with torch.no_grad():
    states = model.hf(ids, output_hidden_states=True).hidden_states
for n in range(model.n_layers - 1):
    difference = (acts[f"resid_post.{n}"] - states[n + 1]).abs().max()
    print(f"resid_post.{n} against hidden_states[{n + 1}]: {float(difference):.1e}")

# %%
from transformer_lens.model_bridge import TransformerBridge


bridge = TransformerBridge.boot_transformers(str(family.base), device="cpu")
with torch.no_grad():
    _, cache = bridge.run_with_cache(ids, prepend_bos=False)

# %%
largest: dict[str, float] = {}
for site in (site for site in acts.sites if str(site) in cache):
    # A pattern is [query, head, key] here, since positions come first; theirs is
    # [head, query, key].
    ours = acts[site].transpose(1, 2) if site.component == "pattern" else acts[site]
    difference = (ours - cache[str(site)].reshape(ours.shape)).abs().max()
    so_far = largest.get(site.component, 0.0)
    largest[site.component] = max(float(difference), so_far)
pd.Series(largest, name="largest difference").rename_axis("component").to_frame()

# %% [markdown]
# ## What it costs
#
# `capture` stops after the last site it needs, gathers the asked rows and lets go of
# the rest. So what is kept depends on what was asked, not on the model. Times are of
# this machine, now, one run each: read the ratios.

# %%
statements = interp.data.statements(family.statements)
prompts = list(statements.prompts[:256])
read = partial(interp.capture, model, prompts)
jobs = {
    "resid_post.*, last": partial(read, sites="resid_post.*", positions="last"),
    "resid_post.*, all": partial(read, sites="resid_post.*", positions="all"),
    "resid_post.1, last": partial(read, sites="resid_post.1", positions="last"),
    "z.*, last": partial(read, sites="z.*", positions="last"),
    "pattern.*, all": partial(read, sites="pattern.*", positions="all"),
    "all sites, all": partial(read, sites=sites, positions="all"),
}

# %%
costs = []
for name, job in jobs.items():
    started = time.perf_counter()
    kept = sum(value.nbytes for value in job().values.values())
    costs.append((name, 1e3 * (time.perf_counter() - started), kept / 1e6))
cost = pd.DataFrame(costs, columns=["asked for", "milliseconds", "megabytes kept"])
cost.round(2)

# %%
bars = px.bar(cost, x="megabytes kept", y="asked for", height=320)
bars.update_traces(texttemplate="%{x:.2f}")

# %% [markdown]
# Two ways to keep less than even that. `moments` adds up mean and covariance batch by
# batch, and keeps no row at all; a store puts rows on disk, resumable and
# memory-mapped, and says beforehand how much it will write (`interp capture MODEL DATA
# --out STORE`).

# %%
moments = interp.activations.moments(model, prompts, sites="resid_post.2")
rows = jobs["resid_post.*, last"]()["resid_post.2"]
error = float((moments.mean("resid_post.2") - rows.mean(0)).abs().max())
print(f"the mean without rows differs from the mean of rows by {error:.0e}")

# %%
plan = interp.store.plan_capture(model, prompts, sites="resid_post.*", positions="last")
shards = plan.spec.plan
promised = sum(plan.spec.shard_bytes(shards.shard(i)) for i in range(shards.n_shards))
store = interp.store.capture_to("results/acts", model, plan)
print(f"{promised / 1e6:.2f} MB promised,", store["resid_post.2"].shape, "on disk")
store.rows[["prompt", "n_tokens"]].head(3)

# %% [markdown]
# ## What holds here, and what would falsify it

# %%
assert max(largest.values()) < 1e-4
assert {"q", "z", "pattern", "mlp_post", "resid_post"} <= set(largest)
assert min(costs, key=itemgetter(2))[0] == "resid_post.1, last"

# %% [markdown]
# "These are the activations" would be false for a model if
#
# * `interp doctor MODEL` failed one of its checks (shapes, agreement with Hugging Face,
#   causality, batch equals single, embedding + writes = final stream, editing);
# * a batch gave other rows than single prompts, beyond rounding: padding was read;
# * another implementation of the same weights disagreed beyond rounding, as in the
#   table.
#
# This page compares one architecture. The tests do the same for over a dozen, and
# `docs/performance.md` measures costs beside other libraries.
#
# **Next.** `02_truthfulness_probes` reads with these rows; `04_knowledge_patching`
# writes to these sites; `09_bring_your_own_model` runs the checks on an architecture
# that no adapter knows; `interp doctor MODEL` runs them on yours.
