"""The data of a study, read and cut to size as its settings say."""

from dataclasses import replace

import numpy as np

from interp.data import (
    Contrast,
    Instructions,
    Statements,
    contrast as contrast_of,
    instructions as read_instructions,
    join,
    statements as read_statements,
)
from interp.data.statements import fingerprint
from interp.provenance import DatasetRecord
from probes.studies.refusal import RefusalSpec
from probes.studies.truthfulness import TruthfulnessSpec


def statements_of(spec: TruthfulnessSpec) -> Statements:
    """The statements of all files together, at most `limit` of them.

    Raises:
        DataError: If a file cannot be read.
    """
    parts = [read_statements(source, group=spec.group) for source in spec.statements]
    whole = join(parts)
    if spec.limit is None or len(whole) <= spec.limit:
        return whole
    # Whole groups: half of one would not be worth less, but pairs are kept together.
    rng = np.random.default_rng(spec.seed)
    groups = list(dict.fromkeys(whole.groups))
    rank = {groups[i]: n for n, i in enumerate(rng.permutation(len(groups)).tolist())}
    order = sorted(range(len(whole)), key=lambda row: rank[whole.groups[row]])
    return whole.take(sorted(order[: spec.limit]))


def contrast_for(spec: RefusalSpec) -> Contrast:
    """The instructions in three splits, at most `limit` of each class.

    Raises:
        DataError: If a file cannot be read, or there are too few instructions.
    """
    harmful, harmless = (
        _cut(read_instructions(list(sources)), spec)
        for sources in (spec.harmful, spec.harmless)
    )
    return contrast_of(
        harmful,
        harmless,
        n_train=spec.n_train,
        n_val=spec.n_val,
        n_test=spec.n_test,
        seed=spec.seed,
    )


def records_of(data: Statements | Contrast, names: str) -> tuple[DatasetRecord, ...]:
    """What goes into a provenance about the data.

    Args:
        data: The data.
        names: Where it comes from.
    """
    rows = len(data) if isinstance(data, Statements) else len(data.to_dataframe())
    record = DatasetRecord(name=names, fingerprint=data.fingerprint, rows=rows)
    return (record,)


def _cut(given: Instructions, spec: RefusalSpec) -> Instructions:
    if spec.limit is None or len(given) <= spec.limit:
        return given
    rng = np.random.default_rng(spec.seed)
    rows = sorted(rng.permutation(len(given))[: spec.limit].tolist())
    texts = tuple(given.texts[row] for row in rows)
    return replace(given, texts=texts, fingerprint=fingerprint(texts))
