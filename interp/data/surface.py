"""What the words alone give away: the baseline that a probe must beat."""

import re
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import scipy.linalg
import scipy.sparse
from jaxtyping import Bool, Float

from interp.errors import DataError, EmptyClassError, ShapeError


# Against the unit-length rows below; the baseline is flat around this value.
RIDGE = 1.0
# The solver is cubic in the number of training texts.
MAX_TRAINING_TEXTS = 4000
_WORDS = re.compile(r"\w+(?:[-'’]\w+)*|[^\w\s]")


def bag_of_words_scores(
    train: Sequence[str],
    labels: Bool[np.ndarray, " train"],
    test: Sequence[str],
) -> Float[np.ndarray, " test"]:
    """How true each test text looks to ridge regression on its words and word pairs.

    Case is kept: in 'Fifty is larger than forty' the capital tells the place. Texts
    beyond the first 4000 for training are not used.

    Args:
        train: Texts to fit on.
        labels: Which of them are positive.
        test: Texts to score.

    Raises:
        EmptyClassError: If a class has no training text.
        DataError: If there is no test text.
        ShapeError: If lengths disagree.

    Example:
        >>> labels = np.array([True, False, True, False])
        >>> train = ["a yes", "b no", "c yes", "d no"]
        >>> scores = bag_of_words_scores(train, labels, ["e yes", "f no"])
        >>> bool(scores[0] > scores[1])
        True
    """
    labels = np.asarray(labels, dtype=bool)
    if len(train) != labels.size:
        raise ShapeError(f"There are {labels.size} labels for {len(train)} texts.")
    if not labels.any() or labels.all():
        raise EmptyClassError("The training texts have one label only.")
    if not test:
        raise DataError("There is no text to score.")
    train, labels = train[:MAX_TRAINING_TEXTS], labels[:MAX_TRAINING_TEXTS]
    vocabulary: dict[str, int] = {}
    seen = _counts(train, vocabulary, grow=True)
    unseen = _counts(test, vocabulary, grow=False)
    gram = (seen @ seen.T).toarray()
    gram[np.diag_indices_from(gram)] += RIDGE
    targets = np.where(labels, 1.0, -1.0)
    weights = scipy.linalg.solve(gram, targets - targets.mean(), assume_a="pos")
    return np.asarray(unseen @ (seen.T @ weights))


def _counts(
    texts: Sequence[str], vocabulary: dict[str, int], *, grow: bool
) -> scipy.sparse.csr_array:
    """Which words and pairs occur, as rows of unit length; may add to `vocabulary`."""
    columns: list[int] = []
    values: list[float] = []
    ends = [0]
    for text in texts:
        words = _WORDS.findall(text)
        features = {*words, *map(" ".join, pairwise(words))}
        if grow:
            for feature in sorted(features):
                vocabulary.setdefault(feature, len(vocabulary))
        known = sorted(vocabulary[f] for f in features if f in vocabulary)
        columns += known
        values += [1 / np.sqrt(len(features))] * len(known)
        ends.append(len(columns))
    shape = (len(texts), max(len(vocabulary), 1))
    return scipy.sparse.csr_array((values, columns, ends), shape=shape)
