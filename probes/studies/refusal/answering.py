"""All answers of a refusal study, each condition a part that is kept on disk."""

from interp.progress import progress_bar
from probes.studies.refusal.asked import Asked
from probes.studies.refusal.completions import Answers, Condition, answer, conditions
from probes.studies.shards import Shards


def answer_all(asked: Asked, shards: Shards) -> tuple[Answers, ...]:
    """The answers under all conditions; those that are on disk are not written again.

    Args:
        asked: What is asked.
        shards: Where the answers of each condition are kept.

    Raises:
        StoppedError: If a signal asked for it; finished conditions are kept.
    """
    wanted = list(conditions(with_ablation=asked.able, sources=asked.vectors))
    found: list[Answers] = []
    with progress_bar("answer", len(wanted), "conditions") as bar:
        for condition in wanted:
            made = shards.kept(
                f"answers-{condition.name}",
                Answers,
                lambda condition=condition: _answers(asked, condition),
            )
            found.append(made)
            bar.advance(note=str(condition))
    return tuple(found)


def _answers(asked: Asked, condition: Condition) -> Answers:
    side = asked.side(condition.model)
    own = asked.texts[condition.instructions]
    return answer(
        side.model,
        condition,
        own,
        side.template.ids(side.model, own),
        vector=asked.vectors.get((condition.model, condition.direction)),
        tokens=asked.fitted.tokens,
        max_new_tokens=asked.spec.max_new_tokens,
        batch_size=asked.spec.batch_size,
    )
