"""The prompts of pairs token by token, for whoever looks at single pairs later."""

from interp.models.language_model import LanguageModel
from interp.patching import PromptPairs
from interp.patching.aggregate import Columns
from interp.results.knowledge_pairs import MAX_SHOWN_PAIRS, PairTokens


def pair_tokens(
    model: LanguageModel,
    prompts: tuple[PromptPairs, PromptPairs],
    columns: Columns,
    *,
    at_most: int = MAX_SHOWN_PAIRS,
) -> tuple[PairTokens, ...]:
    """The patched positions of the first pairs as texts, with what is read of them.

    Args:
        model: Its tokenizer turns token ids into texts.
        prompts: The pairs with what is read in base and in post.
        columns: Which column of the maps each position is in.
        at_most: How many pairs.
    """
    texts: dict[int, str] = {}

    def text(token: int) -> str:
        if token not in texts:
            texts[token] = str(model.tokenizer.decode([token]))
        return texts[token]

    base, post = prompts
    return tuple(
        PairTokens(
            clean=tuple(map(text, base.clean_ids[i][base.start[i] :])),
            corrupted=tuple(map(text, base.corrupted_ids[i][base.start[i] :])),
            columns=tuple(columns.index[i, : len(base.roles[i])].tolist()),
            answers=(
                (text(base.positive[i]), text(base.negative[i])),
                (text(post.positive[i]), text(post.negative[i])),
            ),
        )
        for i in range(min(len(base), at_most))
    )
