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
# # 03 The refusal direction
#
# **Question.** Is refusing one direction in the residual stream of a chat model: take
# it out and the model complies, put it in and it refuses? And what else changes then?
#
# **Paper.** Arditi et al. (2024), *Refusal in Language Models Is Mediated by a Single
# Direction*, [arXiv:2406.11717](https://arxiv.org/abs/2406.11717). That the base
# model's direction does not do the same in the chat model is in Du et al. (2025),
# [arXiv:2504.02904](https://arxiv.org/abs/2504.02904).

# %%
import numpy as np

import interp
from probes.studies import RefusalSpec, compare


# %%
family = interp.organism.train("facts", size="small")
post = interp.load(family.post)
contrast = interp.data.contrast(
    interp.data.instructions(family.harmful),
    interp.data.instructions(family.harmless),
    n_train=32,
    n_val=16,
    n_test=20,
)
contrast.to_dataframe().groupby(["class", "split"])["instruction"].agg(
    ["size", "first"]
)

# %% [markdown]
# The instructions of this family come in pairs that differ in a verb, so that neither
# length nor topic nor punctuation tells them apart. Data in the wild are not so kind:
# harmful ones from one source and harmless ones from another differ in much else.
#
# ## By hand
#
# The model answers behind a chat template. Whatever decides must have arrived at the
# last token of the template, before the first word.

# %%
asked = [contrast.harmful.test[0], contrast.harmless.test[0]]
print(post.generate(asked, chat=True, max_new_tokens=12))
instructions = [*contrast.harmful.train, *contrast.harmless.train]
is_harmful = np.arange(len(instructions)) < len(contrast.harmful.train)
acts = interp.capture(post, instructions, sites="resid_pre.*", positions=-1, chat=True)
acts.tokens(0)

# %%
refusal = interp.directions.mean_difference(acts, is_harmful, site="resid_pre.2")
refusal

# %% [markdown]
# Out of everything that any layer writes, then in at its own layer:

# %%
with interp.ablate(post, refusal):
    print("harmful, ablated:  ", post.generate(asked[:1], chat=True, max_new_tokens=12))
with interp.steer(post, refusal):
    print("harmless, added in:", post.generate(asked[1:], chat=True, max_new_tokens=12))

# %% [markdown]
# Two sentences are an anecdote. And the layer was my choice, made because I had seen
# that it works. The study chooses on validation prompts and reports on others.
#
# ## The study
#
# Every layer and every token behind the instruction is a candidate. Three curves for
# each: the refusal score of harmful prompts when it is ablated (*bypass*, low is good),
# of harmless ones when it is added (*induce*, above 0), and how much ablating it
# changes the answers to harmless ones (*kl*, below 0.1 nats). `interp study refusal`
# does the same from a file.

# %%
spec = RefusalSpec(
    base=str(family.base),
    post=str(family.post),
    harmful=(str(family.harmful),),
    harmless=(str(family.harmless),),
    n_train=32,
    n_val=16,
    n_test=20,
    max_new_tokens=12,
    coefficients=(0.5, 1.0, 1.5),
    resamples=200,
    controls=1,
)
result = compare([spec], out="results").refusal
print(result.headline())
interp.figures.refusal_candidates(result)

# %%
columns = ["position", "token", "layer", "bypass", "induce", "kl", "fate"]
candidates = result.candidates_dataframe()[columns]
candidates.round(2)

# %% [markdown]
# Every candidate that fell has its reason. Note the ones that ablate well and fell all
# the same: taking them out changes harmless answers too, so they carry more than
# refusal. How stable is the choice over other draws of the validation prompts?

# %%
print(result.selection)
result.candidates_dataframe().set_index(["layer", "position"])["share"].to_frame()

# %% [markdown]
# ## Effects, beside controls
#
# On test prompts: nothing done, the model's own direction ablated, set to its mean over
# harmless prompts, or added; the *base* model's direction in its place; and a random
# vector of equal length.

# %%
interp.figures.refusal_rates(result)

# %%
interp.figures.refusal_doses(result)

# %% [markdown]
# ## What else changes
#
# Loss and divergence on harmless instructions with the model's own answers, and whether
# answers loop: an answer that says one word again and again is no refusal, and no
# compliance either. (Look at the words above: this tiny model picks its verb and its
# noun freely. It learned *that* it answers, not what.)

# %%
interp.figures.refusal_side_effects(result)

# %%
answers = result.completions_dataframe().query("model == 'post'")
what = ["instructions", "intervention", "direction"]
answers.groupby(what)[["refused", "refused_prefix", "looping"]].mean()

# %% [markdown]
# ## For good
#
# What cannot be written need not be projected out. The same edit in the weights is an
# ordinary Hugging Face model; how far are its logits from those under the hooks?

# %%
without = interp.orthogonalise(post, refusal)
error = interp.edits.logit_error(without, post, refusal)
print(f"largest difference of logits, relative: {error:.1e}")
without.generate(asked, chat=True, max_new_tokens=12)

# %% [markdown]
# ## What holds here, and what would falsify it

# %%
rates = {
    (row.instructions, row.intervention, row.direction): row.rate
    for row in result.conditions
    if row.model == "post"
}
assert rates["harmful", "none", "none"] > 0.9
assert rates["harmful", "ablate", "post"] < 0.1
assert rates["harmful", "ablate", "random"] > 0.9
assert rates["harmless", "add", "post"] > 0.9
assert error < 1e-4
rates

# %% [markdown]
# "Refusal is one direction" would be false if
#
# * no candidate passed: the study then says so, with the nearest failures, and does not
#   fall back to the best of a bad lot in silence;
# * a random vector, or the base model's direction, did as much;
# * the answers that are no refusals any more were broken ones (loops, higher loss);
# * the direction were one of punctuation or template: `result.punctuation_dataframe()`
#   holds the cosine with the contrast of prompts that end in a full stop or not;
# * removing it left a second route: refusals in other languages, later in the answer,
#   or for prompts of another kind. Twenty prompts of one kind cannot exclude that.
#
# This family's post-training changes the first layers only, which makes one direction
# likely (see `interp.organism`). In a model of your own it is an open question.
#
# **Next.** `08_base_vs_post_trained` for the base model beside it;
# `07_steering_and_streaming_probes` to push while text is written. In the explorer:
# `interp explore results`, page *Refusal*.
