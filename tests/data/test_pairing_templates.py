"""Templates fit every file they were made for, and say clearly what is wrong."""

import numpy as np
import pandas as pd
import pytest
from organism_fixtures import SHARED

from interp.data.templates import KNOWN, parse, parse_columns, template, templates_for
from interp.errors import ConfigError


FILES = sorted((SHARED / "data" / "statements").glob("*.csv"))
STRUCTURED = [path for path in FILES if path.stem in KNOWN and "facts" not in path.stem]


@pytest.mark.skipif(not FILES, reason="the shared statements are not there")
@pytest.mark.parametrize("path", STRUCTURED, ids=lambda path: path.stem)
def test_every_statement_of_a_structured_file_fits_its_template(path):
    frame = pd.read_csv(path)
    templates = templates_for(path.name)
    found = [parse(text.strip(), templates) for text in frame["statement"]]
    assert all(found)
    if "city" not in frame:
        return
    # The columns of the file are an independent source of the same words.
    rows = zip(frame["statement"], found, frame["city"], frame["country"], strict=True)
    for text, one, city, country in rows:
        assert one is not None
        assert text[slice(*one.subject)] == city
        assert text[slice(*one.object)] == country


@pytest.mark.skipif(not FILES, reason="the shared statements are not there")
@pytest.mark.parametrize("name", ["facts", "neg_facts"])
def test_most_free_facts_fit_a_general_form(name):
    frame = pd.read_csv(SHARED / "data" / "statements" / f"{name}.csv")
    fits = [parse(text, templates_for(name)) is not None for text in frame["statement"]]
    assert np.mean(fits) > 0.7


def test_a_statement_must_fit_letter_for_letter():
    city = template("The city of {subject} is in {object}.")
    assert city.parse("The city of Lima is in Peru") is None
    assert city.parse("the city of Lima is in Peru.") is None
    assert city.parse("The city of  is in Peru.") is None
    found = city.parse("The city of New York is in the U.S.A..")
    assert found is not None
    assert found.words == ("The city of ", " is in ", ".")


def test_alternatives_may_be_empty_and_are_part_of_the_wording():
    either = template("{subject} is [not |]in {object}.")
    plain, negated = (either.parse(f"A is {w}in B.") for w in ("", "not "))
    assert plain is not None
    assert negated is not None
    assert plain.words != negated.words
    assert plain.subject == negated.subject


def test_literal_braces_and_brackets_are_doubled():
    found = template("{{{subject}}} [[is]] {object}").parse("{A} [is] B")
    assert found is not None
    assert (found.subject, found.object) == ((1, 2), (9, 10))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("The city of {subject}.", "It has no {object}"),
        ("{subjct} is in {object}.", "Did you mean 'subject'"),
        ("{subject} is {subject} in {object}.", "stands twice"),
        ("{subject}{object}", "Two fields touch"),
        ("{subject} is in {object", "'{' stands alone"),
        ("{subject} is [in {object}", r"A literal one is written '\[\['"),
        ("", "It has no {subject}"),
    ],
)
def test_a_wrong_template_is_told_in_one_line(text, message):
    with pytest.raises(ConfigError, match=message) as caught:
        template(text)
    assert repr(text) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_columns_name_whole_words_outside_each_other():
    found = parse_columns("The in of Into is in in.", "Into", "in")
    assert found is not None
    assert found.object == (4, 6)
    assert parse_columns("Roman roads.", "Rome", "roads") is None
    assert parse_columns("Rome is Rome.", "Rome", "Rome") is not None
    assert parse_columns("Rome is here.", "Rome", "Rome") is None


def test_an_unknown_file_is_read_by_all_templates_but_the_general_ones():
    found = parse("The Spanish word 'rey' means 'king'.", templates_for("mine.csv"))
    assert found is not None
    assert parse("Rain is wet.", templates_for("mine.csv")) is None
