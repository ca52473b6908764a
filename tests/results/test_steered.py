"""A steered text as a result: everything comes back, and says what was done."""

from dataclasses import asdict, replace

import numpy as np
import pytest
from steered_samples import sides, steered

from interp import results
from interp.errors import ShapeError
from interp.figures import report_section
from probes.studies.summary import brief_table, numbers, sentences


def test_texts_and_scores_come_back_from_disk_as_they_were_written(tmp_path):
    back = results.load(steered().save(tmp_path / "r"))
    assert isinstance(back, results.SteeredText)
    original, found = sides(), back.sides
    for name in ("unchanged", "steered"):
        expected, read = asdict(getattr(original, name)), asdict(getattr(found, name))
        for field, value in expected.items():
            np.testing.assert_array_equal(read[field], value, err_msg=field)
    np.testing.assert_array_equal(found.prompt.scores, original.prompt.scores)
    np.testing.assert_array_equal(found.prompt.masked, original.prompt.masked)
    np.testing.assert_array_equal(found.kl, original.kl)
    assert found.headline() == original.headline()
    assert (back.asked, back.link) == (steered().asked, "0" * 32)


def test_the_rows_are_the_tokens_of_all_three_texts_in_order():
    rows = steered().to_dataframe()
    assert rows["text"].value_counts(sort=False).to_dict() == {
        "prompt": 4,
        "unchanged": 4,
        "steered": 3,
    }
    assert [*rows["pos"]] == [0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2]
    own = rows.loc[rows["text"] == "steered"]
    np.testing.assert_array_equal(own["kl"], sides().kl)
    assert rows.loc[rows["text"] != "steered", "kl"].isna().all()


@pytest.mark.parametrize(
    ("operation", "words"),
    [
        ("add", "-1.5 × refusal"),
        ("project_out", "without refusal"),
        ("at_most", "at most -1.5"),
        ("at_least", "at least -1.5"),
    ],
)
def test_the_headline_says_what_was_done(operation, words):
    result = steered()
    asked = replace(result.asked, operation=operation)
    assert words in replace(result, asked=asked).headline()


def test_scores_of_another_number_of_readers_are_refused():
    with pytest.raises(ShapeError, match="scores has 2 entries, not 1"):
        replace(steered(), readers=("one",), units=("gaps",))


def test_report_and_summary_show_the_divergence_and_not_the_texts():
    result = steered(word="dynamite")
    section = report_section(result)
    np.testing.assert_array_equal(section.panels[0].figure.data[0].y, result.kl)
    said = " ".join((section.summary, *sentences(result), str(brief_table(result))))
    assert "dynamite" not in said
    assert numbers(result)["steered"] == "I cannotdynamite"
