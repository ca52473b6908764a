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
# # 08 Base against post-trained
#
# **Question.** What does post-training move inside a model: where it keeps facts,
# whether it knows what is true, whether it refuses, how sure it is?
#
# **Paper.** Du et al. (2025), *How Post-Training Reshapes LLMs: A Mechanistic View on
# Knowledge, Truthfulness, Refusal, and Confidence*,
# [arXiv:2504.02904](https://arxiv.org/abs/2504.02904). Their answer: knowledge stays
# where it was, the truth direction carries over, the refusal direction does not,
# confidence changes and not by entropy neurons.

# %%
from dataclasses import replace

import pandas as pd
import plotly.express as px

import interp
from probes.studies import Sources, compare, sentences, specs_for, study_name


# %% [markdown]
# ## Four studies, two models
#
# `specs_for` gives the usual settings for the data that is there; all numbers can be
# replaced. Here they are cut to what a page can wait for. `interp compare BASE POST
# --statements FILE --harmful FILE --harmless FILE --out DIR` is the same from the
# command line.

# %%
family = interp.organism.train("facts", size="small")
sources = Sources(
    statements=(str(family.statements),),
    harmful=(str(family.harmful),),
    harmless=(str(family.harmless),),
)

# %%
smaller = {
    "truthfulness": {
        "limit": 200,
        "dataset_column": "topic",
        "probes": ("mean_difference",),
        "permutations": 40,
        "asked_validation": 8,
        "asked_test": 24,
        "layers": (2, 2),
        "doses": (),
    },
    "refusal": {
        "n_train": 24,
        "n_val": 12,
        "n_test": 16,
        "max_new_tokens": 12,
        "coefficients": (1.0,),
    },
    "knowledge": {"n_pairs": 24, "permutations": 40},
    "confidence": {"max_texts": 80, "candidates": 6, "effect_texts": 8},
}

# %%
cheap = {"controls": 1, "resamples": 200}
specs = []
for spec in specs_for(str(family.base), str(family.post), sources):
    settings = {**cheap, **smaller[study_name(spec)]}
    known = {key: value for key, value in settings.items() if hasattr(spec, key)}
    specs.append(replace(spec, **known))
done = compare(specs, out="results")
print("report:", done.report)
for name, result in done.results.items():
    print(f"\n{name}: {result.headline()}")

# %% [markdown]
# Running this cell again loads what is finished. Every study folder holds its settings,
# its provenance and the command that repeats it; `interp explore results` opens them.
#
# ## Truth carries over
#
# Each model's direction on each model's activations; then added to them. The second
# figure is what makes it a claim about the model and not about a probe.

# %%
truth, refusal = done.truthfulness, done.refusal
interp.figures.transfer_matrix(truth)

# %%
interp.figures.intervention_bars(truth)

# %% [markdown]
# ## Refusal is new

# %%
interp.figures.refusal_rates(refusal)

# %% [markdown]
# The base model's own "direction" between the same instructions exists, and it is not
# even unlike the other one. It does nothing: a cosine is not an effect.

# %%
print(f"cosine of the chosen directions: {refusal.cosine_chosen:.2f}")
interp.figures.cosine_curve(refusal)

# %% [markdown]
# ## Knowledge stays where it was
#
# Both maps, their difference below. High correlation says little: so beside it stand
# the halves of one model's own pairs (the noise floor), and maps shifted by one layer.

# %%
knowledge = done.knowledge
interp.figures.knowledge_maps(knowledge)

# %%
interp.figures.likeness_bars(knowledge)

# %% [markdown]
# ## Confidence moved, and not by its neurons

# %%
confidence = done.confidence
print("\n".join(sentences(confidence)))
interp.figures.calibration_curve(confidence)

# %% [markdown]
# ## All in one figure
#
# One row per measure, one mark per model, 95 % intervals. What lies apart is what
# post-training moved.

# %%
rows = []
cells = knowledge.to_dataframe().query("role == 'object last' and layer == 2")
parts = ("restoration", "restoration_low", "restoration_high")
for i, role in enumerate(("base", "post")):
    at = truth.best_index(role)
    read = (part[i, i, at] for part in (truth.auroc, truth.auroc_low, truth.auroc_high))
    rows.append(("truth: AUROC", role, *read))
    found = cells[cells["run"] == role].iloc[0]
    rows.append(("knowledge: at the object, layer 2", role, *found[list(parts)]))

for row in refusal.conditions:
    if row.intervention == "none":
        measure = f"refusal: {row.instructions} refused"
        rows.append((measure, row.model, row.rate, row.low, row.high))

sure = confidence.confidence_dataframe().query("swapped == 'none'")
for name, column in (("accuracy", "accuracy"), ("calibration error", "ece")):
    bounds = [column, f"{column}_low", f"{column}_high"]
    for row in sure[["model", *bounds]].itertuples(index=False):
        rows.append((f"confidence: {name}", *row))

# %%
columns = ["measure", "model", "value", "low", "high"]
summary = pd.DataFrame(rows, columns=columns).sort_values("measure", kind="stable")
summary["minus"] = summary["value"] - summary["low"]
summary["plus"] = summary["high"] - summary["value"]
figure = px.scatter(
    summary,
    x="value",
    y="measure",
    color="model",
    symbol="model",
    error_x="plus",
    error_x_minus="minus",
    color_discrete_map={"base": "#2f7fc9", "post": "#d4691e"},
    range_x=[-0.05, 1.05],
    height=380,
)
figure.update_traces(marker_size=11).update_layout(scattermode="group", scattergap=0.6)

# %%
summary.pivot(index="measure", columns="model", values="value").round(3)

# %% [markdown]
# ## What holds here, and what would falsify it

# %%
found = {(measure, role): value for measure, role, value, *_ in rows}
assert found["refusal: harmful refused", "post"] > 0.9
assert found["refusal: harmful refused", "base"] < 0.1
assert abs(found["truth: AUROC", "post"] - found["truth: AUROC", "base"]) < 0.1
alike = knowledge.likeness_of("base and post")
assert alike is not None
assert alike.find("pearson").value > 0.95
assert confidence.mlp_moved == 0, "the last MLP is as it was"
assert all(not confidence.through_norm(role) for role in ("base", "post"))

# %% [markdown]
# "Post-training moved refusal and left the rest" would be false if
#
# * the maps of knowledge differed by more than the halves of one model's pairs do;
# * the base model's truth direction moved the post-trained model's answers less than
#   its own does, or a control of equal length moved them as much;
# * the base model refused with another template: it was never trained on this one. A
#   low cosine or a missing effect can come from the template alone;
# * swapping entropy neurons moved confidence. Here nothing was there to swap.
#
# And of *this* family it is true by construction: its post-training changes the first
# two layers only, by a few steps. The page shows that the studies find what was put in,
# and nothing else. For your models it is a question.
#
# **Next.** `interp compare` with your two models; `interp explore results`, pages
# *Overview* and *Compare*. The report that this page wrote is one HTML file, readable
# offline.
