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
# # 07 Steering and streaming probes
#
# **Question.** Can I watch a direction fire while a model writes, push on it in the
# middle of a text, and see at which token, and by how much, that changed what it
# writes?
#
# **Paper.** Steering: Turner et al. (2023),
# [arXiv:2308.10248](https://arxiv.org/abs/2308.10248), and Panickssery et al. (2024),
# [arXiv:2312.06681](https://arxiv.org/abs/2312.06681). The direction is that of Arditi
# et al. (2024), [arXiv:2406.11717](https://arxiv.org/abs/2406.11717).

# %%
import numpy as np
import pandas as pd

import interp
import probes
from interp import streaming
from interp.figures import Html, contribution_bars, divergence_curve, token_strip


# %% [markdown]
# ## A direction to watch
#
# The refusal direction of `03`, by its two lines: mean of harmful minus mean of
# harmless instructions, at the last token of the chat template.

# %%
family = interp.organism.train("facts", size="small")
model = interp.load(family.post)
contrast = interp.data.contrast(
    interp.data.instructions(family.harmful),
    interp.data.instructions(family.harmless),
    n_train=32,
    n_val=16,
    n_test=20,
)
train = [*contrast.harmful.train, *contrast.harmless.train]
acts = interp.capture(model, train, sites="resid_pre.2", positions=-1, chat=True)
is_harmful = np.arange(len(train)) < len(contrast.harmful.train)
refusal = interp.directions.mean_difference(acts, is_harmful, site="resid_pre.2")
harmful, harmless = contrast.harmful.test[0], contrast.harmless.test[0]

# %% [markdown]
# ## Watch
#
# A reader turns a direction or a probe into a score per token; its unit says what a
# score means. Here +0.5 and -0.5 are the two class means, where the direction was
# fitted.

# %%
reader = streaming.reader_of(refusal, name="refusal")
print(reader.unit)
strips = []
for prompt in (harmful, harmless):
    read = streaming.token_scores(model, prompt, [reader], chat=True)
    strips.append(token_strip(read.tokens, read.scores[0], limit=1.0, label="refusal"))
Html("".join(strips))

# %% [markdown]
# Only the last token of the template tells them apart for certain: that is where the
# direction was fitted, and where the model must have decided. At the others the colour
# is what those words have along the direction anyway, so mask them before averaging
# (`read.masked` leaves out the first token and those of the template).
#
# ## Push, from the second half on
#
# Add the direction only at tokens that are *generated*: the prompt is read as it is,
# the first token is written as it would be, and then somebody leans on the wheel.

# %%
edits = streaming.steering_edits(model, refusal, strength=1.0, when="generated")
sampling = streaming.Sampling(max_new_tokens=16)
both = {"edits": edits, "readers": [reader], "sampling": sampling, "chat": True}
for pair in streaming.stream_pair(model, harmless, **both):
    left = pair.unchanged.token if pair.unchanged else ""
    right = pair.steered.token if pair.steered else ""
    print(f"{left!r:14} {right!r}")

# %% [markdown]
# "Sure, but I cannot help with that request": the model did start to comply. Streams
# hold the model only while a token is made, so between two tokens it is free and clean,
# and stopping early leaves nothing behind. The same as one value, with its numbers:

# %%
result = streaming.side_by_side(model, harmless, **both)
print(result.headline())
Html(
    "".join(
        token_strip(text.tokens, text.scores[0], limit=1.0, label="refusal")
        for text in (result.unchanged, result.steered)
    )
)

# %% [markdown]
# Above the unchanged text, below the steered one, which is blue because the direction
# was added at each of its tokens: that is the push and no finding. What is one is where
# the two *models* part. The divergence is taken along the steered text, token by token:
# how far the steered prediction of each token lies from the unchanged model's.

# %%
divergence_curve(result)

# %% [markdown]
# ## How much is too much
#
# Strength is in units of the distance between the class means, so that 1 has a meaning.
# Compare the size of the change with what is there: an edit longer than the activation
# that it is added to is no nudge.

# %%
rows = []
for strength in (-2.0, -1.0, 0.0, 0.5, 1.0, 2.0):
    push = streaming.steering_edits(model, refusal, strength=strength)
    size = streaming.edit_sizes(model, harmless, push, chat=True)[0]
    with interp.edit(model, push):
        texts = model.generate([harmless, harmful], chat=True, max_new_tokens=10)
    rows.append((strength, size.ratio, *texts))
doses = pd.DataFrame(rows, columns=["strength", "change / norm", "harmless", "harmful"])
doses.round(2)

# %% [markdown]
# The middle of the table is steering. At its ends the answers loop or break off: there
# the model is not "more refusing", it is out of what it knows.
#
# ## Would any vector do?
#
# One random vector is an anecdote again. So every test prompt gets a random vector of
# its own, as long as the direction: drawn evenly from all directions, and drawn as the
# activations themselves vary, which is the harder control.

# %%
prompts = [*contrast.harmless.test, *contrast.harmful.test]
rng = np.random.default_rng(0)
rows = acts["resid_pre.2"].numpy()
shaped = rng.normal(size=(len(prompts), len(rows))) @ (rows - rows.mean(0))
vectors = {
    "nothing": np.zeros((len(prompts), model.d_model)),
    "random": rng.normal(size=(len(prompts), model.d_model)),
    "random, covariance": shaped,
    "refusal direction": np.tile(refusal.vector, (len(prompts), 1)),
}

# %%
shares = {}
for name, drawn in vectors.items():
    lengths = np.linalg.norm(drawn, axis=1, keepdims=True).clip(min=1e-9)
    pushed = (drawn * refusal.scale / lengths).astype(np.float32)
    with interp.steer(model, pushed, site=refusal.site):
        answers = model.generate(prompts, chat=True, max_new_tokens=16)
    refused = [probes.refused(answer) for answer in answers]
    half = len(contrast.harmless.test)
    shares[name] = (np.mean(refused[:half]), np.mean(refused[half:]))
shares = pd.DataFrame(shares, index=["harmless refused", "harmful refused"]).T
shares

# %% [markdown]
# Random vectors make it refuse less often, and not never: in so small a model a push of
# this length in some arbitrary direction tips answers over, all the more if it is drawn
# as the activations vary, since harmful against harmless is much of that. Without this
# table one would call the direction's effect complete and that of any other absent.
#
# ## Adding is not the only way
#
# `at_most` caps the score instead, and leaves alone what is below the cap already.

# %%
ways = {
    "add 1": streaming.steering_edits(model, refusal),
    "add -1": streaming.steering_edits(model, refusal, strength=-1.0),
    "at most -0.5": streaming.steering_edits(
        model, refusal, operation="at_most", strength=-0.5
    ),
}
rows = []
for name, push in ways.items():
    for kind, prompt in (("harmful", harmful), ("harmless", harmless)):
        asked = {**both, "edits": push, "readers": []}
        changed = streaming.side_by_side(model, prompt, **asked)
        rows.append((name, kind, changed.steered.text, float(changed.kl.mean())))
ways_table = pd.DataFrame(rows, columns=["way", "prompt", "text", "KL per token"])
ways_table.round(3)

# %% [markdown]
# Both stop the refusal. The cap moves the predictions for the harmless prompt far less
# than subtracting does.
#
# ## Inside one token
#
# Where along the layers is the first word decided? Read every layer as if it were the
# last one, with two words as the question: "I" (cannot) against "Sure".

# %%
lens = {
    kind: interp.lens.logit_lens(
        model, prompt, target="I", distractor="Sure", positions=[-1], chat=True
    )
    for kind, prompt in (("harmful", harmful), ("harmless", harmless))
}
first_word = pd.DataFrame(
    {kind: one.difference[:, 0] for kind, one in lens.items()},
    index=lens["harmful"].layers,
)
first_word.round(2)

# %% [markdown]
# Refusing is where both begin; complying is what later layers bring about, by taking
# the "I" away again. Which parts write that, for the harmless prompt?

# %%
parts = interp.lens.logit_contributions(
    model, harmless, target="I", distractor="Sure", chat=True
)
print(parts.headline())
contribution_bars(parts)

# %% [markdown]
# ## What holds here, and what would falsify it

# %%
assert result.n_shared > 0, "the beginning was written before the push"
assert "cannot" in result.steered.text
assert "cannot" not in result.unchanged.text
harmless_refused = shares["harmless refused"].to_dict()
assert harmless_refused["refusal direction"] > 0.9
assert harmless_refused["random"] < 0.5
said = ways_table.set_index(["way", "prompt"])["text"]
assert "cannot" not in said["at most -0.5", "harmful"]
assert first_word["harmful"].iloc[-1] > first_word["harmless"].iloc[-1]

# %% [markdown]
# "This direction steers refusal" would be false if
#
# * random vectors of equal length did it as often;
# * it worked only at strengths at which ordinary text breaks;
# * the strip lit up on what both prompts share: then it reads the template;
# * the divergence stayed flat where the texts part: then sampling parted them, and not
#   the edit (here nothing is sampled, both texts are the likeliest ones).
#
# Most of this page is one prompt of each kind, which demonstrates and does not measure:
# `03` has the rates, with intervals.
#
# **Next.** The same by hand, with a slider and a click on any token: the *Lab* of
# `interp explore DIR --model MODEL`. `08_base_vs_post_trained` measures what is shown
# here.
