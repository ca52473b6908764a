from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import RidgeClassifier
from sklearn.metrics import roc_auc_score

from interp import data
from interp.data.statements import subject
from interp.errors import DataError, EmptyClassError, ShapeError


SHARED = Path(__file__).parents[2].parent / "shared" / "data"
HEADER = "statement,label\n"


def _statements(tmp_path: Path, rows: str, name: str = "a.csv", header: str = HEADER):
    path = tmp_path / name
    path.write_text(header + rows)
    return data.statements(path)


def test_repeated_rows_are_kept_once_and_said(tmp_path: Path, caplog):
    found = _statements(tmp_path, "a is b.,1\nc is d.,0\na is b.,1\n a is b. ,true\n")
    assert found.prompts == ("a is b.", "c is d.")
    assert found.notes == ("a.csv: left out 2 repeated rows.",)
    assert caplog.messages == list(found.notes)


def test_a_statement_with_both_labels_is_left_out_and_named(tmp_path: Path):
    rows = "".join(f"thing {i} is x.,{i % 2}\n" for i in range(40))
    found = _statements(tmp_path, rows + "thing 3 is x.,0\n")
    assert "thing 3 is x." not in found.prompts
    assert len(found) == 39
    assert found.notes == (
        "a.csv: left out 'thing 3 is x.', called true and false (line 5 and line 42).",
    )


def test_many_contradictions_are_an_error_that_names_the_first(tmp_path: Path):
    rows = "a is b.,1\nc is d.,0\na is b.,0\n"
    with pytest.raises(DataError, match=r"'a is b\.' .*line 2 and line 4.*0 other"):
        _statements(tmp_path, rows)


def test_groups_come_from_a_column_or_from_the_words_before_the_verb(tmp_path: Path):
    by_rule = _statements(tmp_path, "The city of Lodz is in Poland.,1\nIt rains.,0\n")
    assert by_rule.groups == ("the city of lodz", "it rains.")
    assert by_rule.group_rule == "the words before the verb"
    numbered = "id,statement,label\n1,a is b.,1\n2,c is d.,0\n"
    assert _statements(tmp_path, "", header=numbered).groups == ("a", "c")
    repeated = "id,statement,label\n1,a is b.,1\n1,c is d.,0\n"
    assert _statements(tmp_path, "", header=repeated).groups == ("1", "1")


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("The Spanish word 'con' does not mean 'to'.", "the spanish word 'con'"),
        (
            "The largest flower in the world isn't the daisy.",
            "the largest flower in the world",
        ),
        ("Edwin Herbert Hall lived in the U.S.", "edwin herbert hall"),
        ("Fifty-one is larger than fifty-two.", "fifty-one"),
        ("Islands float.", "islands float."),
        ("Is this a statement?", "is this a statement?"),
    ],
)
def test_the_subject_is_found_for_usual_statements(statement: str, expected: str):
    assert subject(statement) == expected


def test_take_keeps_rows_together(tmp_path: Path):
    rows = "".join(f"thing {i} is x.,{i % 2},{i}\n" for i in range(6))
    whole = _statements(tmp_path, rows, header="statement,label,n\n")
    part = whole.take([4, 1])
    assert part.prompts == ("thing 4 is x.", "thing 1 is x.")
    assert part.labels.tolist() == [False, True]
    assert part.columns["n"].tolist() == [4, 1]
    assert part.fingerprint != whole.fingerprint
    assert whole.take(range(6)).fingerprint == whole.fingerprint
    assert list(part.to_dataframe()) == ["statement", "label", "group", "source", "n"]


@pytest.mark.parametrize("ending", [".csv", ".json", ".parquet"])
def test_rows_without_a_group_are_not_one_group(tmp_path: Path, ending: str):
    frame = pd.DataFrame(
        {
            "statement": [
                "Oslo is big.",
                "Rome is old.",
                "Lima is wet.",
                "Bern is so.",
            ],
            "label": [1, 0, 1, 0],
            "about": ["x", None, "x", None],
        }
    )
    path = tmp_path / f"a{ending}"
    match ending:
        case ".csv":
            frame.to_csv(path, index=False)
        case ".json":
            frame.to_json(path, orient="records")
        case _:
            frame.to_parquet(path)
    found = data.statements(path, group="about")
    assert found.groups == ("x", "rome", "x", "bern")
    assert "where it is empty" in found.group_rule


def test_joined_files_share_groups_and_drop_repetitions(tmp_path: Path):
    first = _statements(tmp_path, "Rome is in Italy.,1\nRome is in Peru.,0\n", "a.csv")
    second = _statements(tmp_path, "Rome is big.,1\nRome is in Peru.,0\n", "b.csv")
    joined = data.join([first, second])
    assert joined.prompts == ("Rome is in Italy.", "Rome is in Peru.", "Rome is big.")
    assert joined.sources == ("a.csv", "a.csv", "b.csv")
    assert set(joined.groups) == {"rome"}
    assert joined.name == "a.csv, b.csv"
    assert data.join([first]) is first
    with pytest.raises(DataError, match="no statements"):
        data.join([])


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.integers(2, 9), min_size=12, max_size=40),
    seed=st.integers(0, 99),
)
def test_splits_share_no_group_lose_nothing_and_hold_both_labels(sizes, seed):
    groups = [str(g) for g, size in enumerate(sizes) for _ in range(size)]
    labels = np.arange(len(groups)) % 2 == 0
    splits = data.split_by_group(groups, labels, seed=seed)
    parts = [splits.train, splits.val, splits.test]
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(groups)))
    named = [{groups[i] for i in part} for part in parts]
    assert not named[0] & named[1]
    assert not named[0] & named[2]
    assert not named[1] & named[2]
    for part, share in zip(parts, (0.5, 0.2, 0.3), strict=True):
        assert 0 < labels[part].sum() < len(part)
        assert abs(len(part) - share * len(groups)) <= 9


def test_a_seed_repeats_the_split_and_another_changes_it():
    groups = [str(i // 2) for i in range(60)]
    labels = np.arange(60) % 2 == 0
    first, again, other = (
        data.split_by_group(groups, labels, seed=seed).test.tolist()
        for seed in (1, 1, 2)
    )
    assert first == again != other


def test_too_few_groups_are_an_error_that_says_so():
    labels = np.arange(10) % 2 == 0
    with pytest.raises(DataError, match="10 statements about 2 subjects"):
        data.split_by_group(["a"] * 5 + ["b"] * 5, labels)
    with pytest.raises(ShapeError, match="add up to 1"):
        data.split_by_group(["a"] * 10, labels, fractions=(0.5, 0.5, 0.5))


def test_the_word_baseline_agrees_with_scikit_learn():
    rng = np.random.default_rng(0)
    words = np.array(["red", "green", "blue", "old", "new", "big", "small", "round"])
    texts = [" ".join(rng.choice(words, 4)) for _ in range(160)]
    noise = rng.random(160) < 0.15
    labels = np.array(["red" in text for text in texts]) ^ noise
    ours = data.bag_of_words_scores(texts[:100], labels[:100], texts[100:])
    counts = CountVectorizer(binary=True, ngram_range=(1, 2)).fit(texts[:100])
    model = RidgeClassifier(alpha=1.0)
    model.fit(counts.transform(texts[:100]), labels[:100])
    theirs = model.decision_function(counts.transform(texts[100:]))
    expected = roc_auc_score(labels[100:], theirs)
    assert roc_auc_score(labels[100:], ours) == pytest.approx(expected, abs=0.05)
    assert np.corrcoef(ours, theirs)[0, 1] > 0.95


def test_the_word_baseline_needs_both_classes_and_a_test():
    with pytest.raises(EmptyClassError):
        data.bag_of_words_scores(["a"], np.array([True]), ["b"])
    with pytest.raises(DataError):
        data.bag_of_words_scores(["a", "b"], np.array([True, False]), [])


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data are not here")
@pytest.mark.parametrize(
    "path", sorted((SHARED / "statements").glob("*.csv")), ids=lambda p: p.stem
)
def test_every_shared_file_is_read_and_can_be_split(path: Path):
    found = data.statements(path)
    rows = len(path.read_text().strip().splitlines()) - 1
    assert 0.97 * rows <= len(found) <= rows
    assert 0.4 <= found.labels.mean() <= 0.6
    splits = data.split_by_group(found.groups, found.labels)
    assert len(splits.test) >= 0.2 * len(found)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data are not here")
def test_quotations_in_the_shared_files_survive():
    found = data.statements(SHARED / "statements" / "tulu_extracted.csv")
    assert any(text.startswith('"Crazy in Love" was') for text in found.prompts)
    facts = data.statements(SHARED / "statements" / "facts.csv")
    assert any("The Nile River" in note for note in facts.notes)


def test_a_data_frame_gives_what_its_file_gives(tmp_path: Path):
    frame = pd.DataFrame(
        {
            "claim": ["a is b.", "c is d.", "c is e."],
            "is_true": [True, False, True],
            "about": ["x", None, "x"],
            "n": [1, 2, 3],
            "day": pd.to_datetime(["2020-01-01"] * 3),
        }
    )
    options = {"statement": "claim", "label": "is_true", "group": "about"}
    found = data.statements(frame, **options)
    assert found.groups == ("x", "c", "x")
    assert found.columns["day"].tolist() == frame["day"].tolist()
    frame.drop(columns="day").to_csv(tmp_path / "a.csv", index=False)
    read = data.statements(tmp_path / "a.csv", **options)
    assert found.fingerprint == read.fingerprint
    assert found.groups == read.groups
    assert found.columns["n"].tolist() == read.columns["n"].tolist() == [1, 2, 3]
    assert len(frame.columns) == 5


@pytest.mark.parametrize("kind", [list, tuple, np.array, pd.Series])
def test_texts_with_labels_are_statements(kind):
    found = data.statements(kind(["a is b.", "a is c."]), labels=kind([1, 0]))
    assert found.prompts == ("a is b.", "a is c.")
    assert found.labels.tolist() == [True, False]


FRAME = pd.DataFrame({"statement": ["a is b.", "a is c."], "label": [1, 0]})


@pytest.mark.parametrize(
    ("source", "labels", "message"),
    [
        (["a is b."], None, "1 texts .* without labels.*labels=.*interp.data.join"),
        (["a is b."], [1, 0], "1 texts .* with 2 labels"),
        (
            np.array(["a is b.", 3], object),
            [1, 0],
            "row 2: the statement is 3, not a text",
        ),
        ([], [], "no rows"),
        (FRAME, [1, 0], "labels= was given without a list.*label="),
        ("a.csv", [1, 0], "labels= was given without a list"),
        (FRAME.iloc[:0], None, "no rows"),
        (FRAME.assign(label=[1, None]), None, "row 2: the label is missing"),
        (FRAME.assign(statement=["a", None]), None, "row 2: the statement is empty"),
        (FRAME[["statement", "statement"]], None, "'statement' twice"),
        (
            FRAME.rename(columns={"label": "right"}),
            None,
            "no column 'label'.*'statement', 'right'.*label= in Python",
        ),
    ],
)
def test_values_that_are_no_statements_are_refused_with_the_way(
    source, labels, message
):
    with pytest.raises(DataError, match=message):
        data.statements(source, labels=labels)


@pytest.mark.parametrize("row", ["Rome is in Italy.;1", "Rome, they say, is old.;1"])
def test_semicolons_are_named_with_what_to_do(tmp_path: Path, row: str):
    path = tmp_path / "a.csv"
    path.write_text(f"statement;label\n{row}\nRome is in Peru.;0\n")
    with pytest.raises(DataError, match=r"separated by ';'") as error:
        data.statements(path)
    # What it says to do is Python that does it.
    remedy = error.value.remedy
    code = remedy[remedy.index("pandas.") :].rstrip(".").replace("'a.csv'", "path")
    eval(code, {"pandas": pd, "path": path})
    assert data.statements(path).prompts == (row[:-2], "Rome is in Peru.")
