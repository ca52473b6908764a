import csv

import pytest
from organism_fixtures import ROOT, SHARED

from interp.errors import DataError
from interp.organism import read_facts
from interp.organism.invented import table_world


EXAMPLE = ROOT / "examples" / "facts.csv"
CITIES = SHARED / "data" / "statements" / "cities.csv"
PAIRS = "".join(f"s{i},o{i % 3}\n" for i in range(12))


def file(tmp_path, content):
    path = tmp_path / "table.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_the_example_file_holds_true_and_false_statements_of_three_topics():
    table = read_facts(EXAMPLE)
    assert {topic.name for topic in table.topics} == {"city", "animal", "instrument"}
    assert table.n_facts == 96
    facts = {(t.name, s): o for t in table.topics for s, o in t.facts}
    assert facts["city", "Kyoto"] == "Japan"
    assert facts["animal", "newt"] == "amphibian"
    for statement in table.statements:
        truth = facts[statement.topic, statement.subject] == statement.object
        assert statement.label == truth


@pytest.mark.skipif(not CITIES.exists(), reason="needs ../shared/data")
def test_a_statement_file_is_read_whole_and_word_for_word():
    table = read_facts(CITIES)
    with CITIES.open(newline="") as opened:
        rows = list(csv.DictReader(opened))
    assert [s.text for s in table.statements] == [row["statement"] for row in rows]
    assert [s.label for s in table.statements] == [row["label"] == "1" for row in rows]
    assert [s.subject for s in table.statements] == [row["city"] for row in rows]
    assert [s.correct_object for s in table.statements] == [
        row["correct_country"] for row in rows
    ]
    assert table.n_facts == 748


@pytest.mark.parametrize(
    ("content", "template"),
    [
        ("subject,object\n" + PAIRS, "{subject} goes with {object}."),
        (
            "subject,object,relation\n" + PAIRS.replace("\n", ",capital\n"),
            "The capital of {subject} is {object}.",
        ),
        (
            "subject,object,template\n"
            + PAIRS.replace("\n", ",{subject} likes {object} best.\n"),
            "{subject} likes {object} best.",
        ),
    ],
    ids=["plain", "relation", "template"],
)
def test_a_plain_table_gets_its_sentences(tmp_path, content, template):
    table = read_facts(file(tmp_path, content))
    assert table.topics[0].statement == template
    assert table.topics[0].facts[4] == ("s4", "o1")
    world = table_world(table.topics, table.statements)
    assert len(world.statements) == 24
    assert sum(s.label for s in world.statements) == 12


def test_the_byte_order_mark_and_blanks_around_cells_do_not_count(tmp_path):
    content = "\ufeffsubject,object\n" + PAIRS.replace(",", " , ")
    assert read_facts(file(tmp_path, content)).topics[0].facts[0] == ("s0", "o0")


def test_a_subject_with_two_objects_is_left_out_and_named(tmp_path):
    table = read_facts(file(tmp_path, "subject,object\ns3,o2\n" + PAIRS))
    assert "s3" not in dict(table.topics[0].facts)
    assert "s3" in table.notes[0]


def test_every_object_has_a_labelled_subject():
    table = read_facts(EXAMPLE)
    world = table_world(table.topics, table.statements)
    for topic in table.topics:
        objects = {o for s, o in topic.facts if (topic.name, s) in world.labelled}
        assert objects == {o for _, o in topic.facts}
        shown = sum((topic.name, s) in world.labelled for s, _ in topic.facts)
        assert 0.6 <= shown / len(topic.facts) <= 0.8


def test_a_small_table_gets_invented_helpers_and_a_large_one_does_not(tmp_path):
    small = read_facts(EXAMPLE)
    helped = table_world(small.topics, small.statements)
    assert len(helped.topics) == 6
    assert {s.topic for s in helped.statements} == {"city", "animal", "instrument"}
    rows = "".join(f"s{i},o{i % 9}\n" for i in range(400))
    large = read_facts(file(tmp_path, "subject,object\n" + rows))
    assert len(table_world(large.topics, large.statements).topics) == 1


STATEMENTS = "statement,label,who,what\n" + "".join(
    f"The s{i}x is o{j}.,{int(i % 3 == j)},s{i}x,o{j}\n"
    for i in range(9)
    for j in range(2)
)

BAD = {
    "no such file": (None, "There is no file", "Check the path"),
    "empty": ("", "has no rows", "header line"),
    "header only": ("subject,object\n", "has no rows", "header line"),
    "binary": (bytes(range(256)), "cannot be read as CSV", "UTF-8"),
    "other columns": ("subjct,objekt\na,b\n", "columns subjct, objekt", "Did you mean"),
    "empty cell": ("subject,object\na,\n", "line 2", "Fill it in"),
    "one object": (
        "subject,object\n" + "".join(f"s{i},x\n" for i in range(12)),
        "fewer than two different objects",
        "merge topics",
    ),
    "too few": ("subject,object\na,b\nc,d\n", "holds 2 facts", "At least 8"),
    "template without object": (
        "subject,object,template\na,b,{subject} is.\n",
        "'{subject} is.'",
        "{object} once",
    ),
    "template with braces": (
        "subject,object,template\na,b,{subject} {0} {object}.\n",
        "other braces",
        "Keep {subject}",
    ),
    "no roles": (
        "statement,label\nThe sky is blue.,1\n",
        "does not say what its statements are about",
        "Add columns subject and object",
    ),
    "bad label": (STATEMENTS.replace(",1,", ",maybe,", 1), "'maybe'", "1 or 0"),
    "negated": (
        STATEMENTS.replace("who,what", "who,what,correct_what").replace("\n", ",o9\n"),
        "labelled true",
        "without negations",
    ),
    "too many forms": (
        "subject,object,template\n"
        + "".join(f"s{i},o{i % 2},{{subject}} {i} {{object}}.\n" for i in range(12)),
        "said in 12 ways",
        "column topic",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_table_is_one_line_that_says_what_to_do(tmp_path, case):
    content, what, remedy = BAD[case]
    path = tmp_path / "table.csv"
    if content is not None:
        file(tmp_path, content)
    if content is not None and case == "negated":
        assert isinstance(content, str)
        content = content.replace("correct_what,o9", "correct_what", 1)
        file(tmp_path, content)
    with pytest.raises(DataError) as raised:
        read_facts(path)
    message = str(raised.value)
    assert what in message
    assert remedy in message
    assert "\n" not in message


def test_a_folder_in_place_of_the_table_is_named(tmp_path):
    with pytest.raises(DataError, match="is a folder"):
        read_facts(tmp_path)
