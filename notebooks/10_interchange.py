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
# # 10 Interchange
#
# **Question.** Do directions, activations, probes and edited models survive a change of
# tools: do they come back with the same numbers, and what is lost on the way?
#
# **Paper.** Control vectors are those of *Representation Engineering* (Zou et al.,
# 2023), [arXiv:2310.01405](https://arxiv.org/abs/2310.01405), in the files of
# [repeng](https://github.com/vgel/repeng) and llama.cpp; the cache is
# [TransformerLens](https://github.com/TransformerLensOrg/TransformerLens)'; vectors to
# steer with are shared on [Neuronpedia](https://docs.neuronpedia.org/api).

# %%
import json
from pathlib import Path

import gguf
import numpy as np
import torch
from safetensors import safe_open
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from transformers import AutoModelForCausalLM

import interp
import probes


out = Path("results/interchange")
out.mkdir(parents=True, exist_ok=True)

# %%
family = interp.organism.train("facts", size="small")
model = interp.load(family.base)
statements = interp.data.statements(family.statements).take(range(160))
acts = interp.capture(model, statements.prompts)
truth = interp.directions.mean_difference(acts, statements.labels, site="resid_post.2")
lost = {}
truth

# %% [markdown]
# ## Files of our own
#
# One safetensors file, never a pickle: it can be opened by anything that knows the
# format, and says what it is and where it came from.

# %%
interp.directions.save(truth, out / "truth.safetensors")
again = interp.directions.load(out / "truth.safetensors")
with safe_open(out / "truth.safetensors", framework="numpy") as file:
    print(list(file.keys()), json.dumps(file.metadata())[:200], "...")
lost["safetensors"] = float(np.abs(again.vector - truth.vector).max())
again.site, again.position, again.scale == truth.scale

# %% [markdown]
# ## TransformerLens
#
# A bridge holds the same weights and leaves the model as it is; site names are theirs.
# Caches go both ways: names and values stay, only the layout is translated. (All
# statements have one length here, so that one batch holds them without padding.)

# %%
bridge = interp.interchange.as_bridge(model)
ids = torch.tensor(model.tokenize(statements.prompts).ids)
with torch.no_grad():
    _, cache = bridge.run_with_cache(ids, prepend_bos=False)
theirs = interp.interchange.from_cache(cache, model=model, ids=ids.tolist())
back = interp.interchange.from_cache(interp.interchange.to_cache(theirs))
lost["TransformerLens, there and back"] = max(
    float((back[site] - theirs[site]).abs().max()) for site in theirs.sites
)
from_cache = interp.directions.mean_difference(
    theirs["resid_post.2"][:, -1], statements.labels
)
lost["TransformerLens"] = float(np.abs(from_cache.vector - truth.vector).max())
lost["TransformerLens"], interp.directions.cosine(from_cache, truth)

# %% [markdown]
# ## scikit-learn
#
# Probes are estimators, so pipelines, cross-validation by group and everything else
# there work as they are. And the solver is held against theirs: the same penalty, the
# same optimum.

# %%
rows, labels = acts["resid_post.2"].double().numpy(), statements.labels
pipeline = make_pipeline(StandardScaler(), probes.estimators.LogisticProbeClassifier())
folds = cross_val_score(
    pipeline,
    rows,
    labels,
    groups=statements.groups,
    cv=GroupKFold(4),
    scoring="roc_auc",
)
print("AUROC by fold:", folds.round(3))
ours = probes.estimators.LogisticProbeClassifier(C=1.0).fit(rows, labels)
theirs = LogisticRegression(C=1.0, tol=1e-10, max_iter=10_000).fit(rows, labels)
lost["scikit-learn"] = float(np.abs(ours.coef_ - theirs.coef_).max())
lost["scikit-learn"]

# %% [markdown]
# ## llama.cpp and repeng: GGUF
#
# `direction.k` is added to the output of block k at *every* position, and the loader
# reads nothing else. So the site must be a `resid_post` of block 1 or later, and what
# is lost is the unit, the classes and the position. Read back with the `gguf` package:

# %%
path = interp.interchange.write_control_vector([truth], out / "truth.gguf")
tensors = gguf.GGUFReader(path).tensors
print(
    [(tensor.name, tensor.tensor_type.name, tuple(tensor.shape)) for tensor in tensors]
)
(back,) = interp.interchange.read_control_vector(path)
lost["GGUF"] = float(np.abs(back.vector - truth.vector).max())
print("before:", truth)
print("after: ", back)

# %%
first = interp.directions.mean_difference(acts, labels, site="resid_post.0")
try:
    interp.interchange.write_control_vector([first], out / "first.gguf")
except interp.InterpError as error:
    print(error)

# %% [markdown]
# ## Neuronpedia
#
# A strength there is a multiple of the vector that was given. So the vector goes out
# with length 1 and the distance of the class means as default strength. Nothing is
# sent: this writes the payload of the call, which takes a key of your own.

# %%
payload = interp.interchange.vector_payload(truth, model_id="tiny-facts", label="truth")
print({key: value for key, value in payload.items() if key != "vector"})
interp.interchange.write_vector(truth, out / "truth.json", model_id="tiny-facts")
back = interp.interchange.read_vector(out / "truth.json")
lost["Neuronpedia"] = float(np.abs(back.vector - truth.vector).max())
lost["Neuronpedia"]

# %% [markdown]
# ## Hugging Face
#
# An edited model is an ordinary folder. Take truth out of the weights, save, load
# without this library, and compare with the hooks:

# %%
folder = out / "without_truth"
if not folder.exists():
    interp.edits.save_orthogonalised(model, truth, folder)
plain = AutoModelForCausalLM.from_pretrained(folder).eval()
with torch.no_grad(), interp.ablate(model, truth):
    hooked = model.hf(ids).logits
with torch.no_grad():
    difference = (plain(ids).logits - hooked).abs().max() / hooked.abs().max()
lost["Hugging Face folder"] = float(difference)
lost["Hugging Face folder"]

# %% [markdown]
# ## Results
#
# What studies give is opened without torch, as a value or as a table; the explorer
# reads the same folder.

# %%
sweep = probes.sweep(acts, labels, groups=statements.groups)
sweep.save(out / "sweep")
opened = interp.results.ProbeSweep.load(out / "sweep")
lost["results"] = float(np.abs(opened.auroc - sweep.auroc).max())
opened.to_dataframe()[["site", "auroc", "auroc_lo", "auroc_hi"]].round(3)

# %%
interp.figures.probe_curve(opened)

# %% [markdown]
# ## What holds here, and what would falsify it

# %%
assert lost["safetensors"] == lost["results"] == 0
assert again.position == truth.position
assert max(lost.values()) < 1e-4
lost

# %% [markdown]
# "A round trip loses nothing that matters" would be false if
#
# * a vector came back at the wrong layer: llama.cpp counts blocks, papers count hidden
#   states, and the two differ by one;
# * its unit were taken for another: raw length here, class gaps there;
# * the other tool applied it elsewhere: at every position, or before the block;
# * the tokens differed: a second BOS is enough. Compare token ids, never decoded text.
#
# Names and numbers are checked above. What is lost for certain is said in each section.
#
# **Next.** `interp.store` for activations on disk, read by memory mapping;
# `interp explore DIR` lists saved directions and exports them (page *Directions*).
