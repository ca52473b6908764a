"""From pairs of statements to the prompt pairs that tracing works on."""

import numpy as np
from jaxtyping import Int

from interp.activations.capture import capture
from interp.data.pairing_values import StatementPairs
from interp.errors import PromptError
from interp.models.language_model import LanguageModel
from interp.patching.prompt_pairs import PromptPairs


def prompt_pairs(
    pairs: StatementPairs, *, answers: Int[np.ndarray, "pair two"] | None = None
) -> PromptPairs:
    """The token ids of statement pairs, with the tokens whose logits are read.

    The true statement is the clean prompt. Prompts with a question are read at the
    tokens of TRUE and FALSE; those without need `answers`.

    Args:
        pairs: From `interp.data.pair_statements`.
        answers: The token after the true and after the false statement of each pair,
            from `top_tokens`.

    Raises:
        PromptError: If there is no question and there are no answers, or the two
            answers of a pair are the same.
    """
    labels = pairs.labels
    if answers is None:
        if labels is None:
            raise PromptError(
                "These prompts have no question, so no label is read.",
                expected="The answers of a model say which tokens are.",
                remedy="Pass answers=top_tokens(model, pairs).",
            )
        answers = np.tile([labels.true, labels.false], (len(pairs), 1))
    return PromptPairs(
        clean_ids=tuple(pair.clean.ids for pair in pairs.pairs),
        corrupted_ids=tuple(pair.corrupted.ids for pair in pairs.pairs),
        positive=tuple(int(token) for token in answers[:, 0]),
        negative=tuple(int(token) for token in answers[:, 1]),
        start=tuple(pair.clean.start for pair in pairs.pairs),
        roles=tuple(pair.clean.roles for pair in pairs.pairs),
        groups=tuple(pair.group for pair in pairs.pairs),
        name=", ".join(dict.fromkeys(pair.source for pair in pairs.pairs)),
    )


def top_tokens(
    model: LanguageModel, pairs: StatementPairs
) -> Int[np.ndarray, "pair two"]:
    """The likeliest token after the true and after the false prompt of each pair.

    Where the two are the same there is nothing to trace: leave the pair out.

    Args:
        model: Asked for the next token.
        pairs: Prompts without a question, cut before the object.
    """
    ids = [pair.clean.ids for pair in pairs.pairs]
    ids += [pair.corrupted.ids for pair in pairs.pairs]
    logits = capture(model, ids, sites="logits", positions="last")["logits"]
    return logits.argmax(-1).reshape(2, -1).T.cpu().numpy()
