import json
from pathlib import Path

import pytest

from interp import data
from interp.data.instructions import normalised
from interp.errors import DataError, EmptyClassError


SHARED = Path(__file__).parents[2].parent / "shared" / "data" / "instructions"


def _list(name: str, n: int) -> data.Instructions:
    texts = tuple(f"{name} task number {i}" for i in range(n))
    return data.Instructions(name=name, texts=texts, fingerprint="")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", json.dumps([{"instruction": "Sing."}, {"instruction": "Dance."}])),
        ("texts.json", json.dumps(["Sing.", "Dance."])),
        ("a.jsonl", '{"instruction": "Sing.", "category": null}\n"Dance."\n'),
        ("a.csv", "id,instruction\n1,Sing.\n2,Dance.\n"),
        ("a.txt", "Sing.\r\n\r\n  Dance.  \r\n"),
    ],
)
def test_instructions_are_read_from_every_usual_file(name, content, tmp_path: Path):
    path = tmp_path / name
    path.write_bytes(content.encode())
    assert data.instructions(path).texts == ("Sing.", "Dance.")


def test_several_files_are_one_list(tmp_path: Path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.txt").write_text(f"Do {name}.\nSing.\n")
    found = data.instructions([tmp_path / "a.txt", tmp_path / "b.txt"])
    assert found.texts == ("Do a.", "Sing.", "Do b.")
    assert found.near_duplicates == 1
    assert found.name == "a.txt, b.txt"


def test_a_missing_column_is_named(tmp_path: Path):
    (tmp_path / "a.csv").write_text("instructions\nSing.\n")
    with pytest.raises(DataError, match=r"'instruction'.*Did you mean 'instructions'"):
        data.instructions(tmp_path / "a.csv")
    (tmp_path / "a.json").write_text('[{"prompt": "Sing."}]')
    with pytest.raises(DataError, match=r"no column 'instruction'.*'prompt'"):
        data.instructions(tmp_path / "a.json")


def test_near_duplicates_never_sit_in_two_splits(tmp_path: Path):
    lines = [f"Task {i}" for i in range(30)] + [f"  TASK, {i}!" for i in range(30)]
    (tmp_path / "a.txt").write_text("\n".join(lines))
    harmful = data.instructions(tmp_path / "a.txt")
    assert (len(harmful), harmful.near_duplicates) == (30, 30)
    made = data.contrast(harmful, _list("other", 30), n_train=20, n_val=5, n_test=5)
    assert made.near_duplicates == (30, 0)
    for part in (made.harmful, made.harmless):
        assert data.overlap(part.train, part.val + part.test) == ()
        assert data.overlap(part.val, part.test) == ()
        assert (len(part.train), len(part.val), len(part.test)) == (20, 5, 5)


def test_texts_of_symbols_only_are_not_all_the_same():
    assert normalised("???") != normalised("!!!")
    assert normalised("Naïve – Façade?") == "naïve façade"


def test_a_seed_repeats_the_contrast_and_another_changes_it():
    harmful, harmless = _list("bad", 60), _list("good", 60)
    sizes = {"n_train": 10, "n_val": 5, "n_test": 5}
    first = data.contrast(harmful, harmless, **sizes, seed=1)
    again = data.contrast(harmful, harmless, **sizes, seed=1)
    other = data.contrast(harmful, harmless, **sizes, seed=2)
    assert first == again
    assert first.fingerprint != other.fingerprint
    assert set(first.harmful.train) < set(harmful.texts)
    assert set(first.harmless.test) < set(harmless.texts)


def test_default_sizes_shrink_in_proportion_and_say_so():
    full = data.contrast(_list("bad", 300), _list("good", 260))
    assert [
        len(x) for x in (full.harmful.train, full.harmful.val, full.harmful.test)
    ] == [128, 32, 100]
    assert full.notes == ()
    small = data.contrast(_list("bad", 26), _list("good", 300))
    sizes = [
        len(x) for x in (small.harmless.train, small.harmless.val, small.harmless.test)
    ]
    assert sum(sizes) <= 26
    assert sizes[0] > sizes[2] > sizes[1] >= 2
    assert "bad has only 26 instructions" in small.notes[0]


def test_sizes_that_were_asked_for_are_kept_or_refused():
    with pytest.raises(DataError, match=r"bad has 26 different.*At least 180"):
        data.contrast(_list("bad", 26), _list("good", 300), n_train=48)
    with pytest.raises(DataError, match=r"bad has 5 different.*At least 8"):
        data.contrast(_list("bad", 5), _list("good", 300))
    with pytest.raises(EmptyClassError, match="at least one"):
        data.contrast(_list("bad", 26), _list("good", 300), n_val=0)


def test_the_same_list_twice_is_refused_and_few_common_texts_are_left_out():
    harmful = _list("bad", 40)
    with pytest.raises(DataError, match=r"40 of 40 .* one file twice"):
        data.contrast(harmful, harmful)
    mixed = data.Instructions(
        name="mixed",
        texts=(*_list("good", 40).texts, "BAD task number 3."),
        fingerprint="",
    )
    made = data.contrast(harmful, mixed, n_train=20, n_val=5, n_test=10)
    assert made.in_both == 1
    everything = made.to_dataframe()["instruction"].map(normalised)
    assert "bad task number 3" not in set(everything)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data are not here")
@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_every_shared_file_makes_a_contrast(split: str):
    made = data.contrast(
        data.instructions(SHARED / f"harmful_{split}.json"),
        data.instructions(SHARED / f"harmless_{split}.json"),
    )
    assert len(made.harmful.train) == len(made.harmless.train) >= 15
    if split != "val":
        assert len(made.harmful.train) == 128
