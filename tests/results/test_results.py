import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sample_results import provenance, refusal, truthfulness

from interp import results
from interp.errors import DiskFullError, ResultError, ShapeError
from interp.results import RefusalComparison, TruthfulnessComparison, conditions_of
from interp.statistics import wilson


Kind = TruthfulnessComparison | RefusalComparison


def _same(first: object, second: object) -> bool:
    if isinstance(first, np.ndarray):
        return np.array_equal(first, np.asarray(second), equal_nan=True)
    if dataclasses.is_dataclass(first) and not isinstance(first, type):
        return type(first) is type(second) and all(
            _same(getattr(first, f.name), getattr(second, f.name))
            for f in dataclasses.fields(first)
        )
    if isinstance(first, tuple) and isinstance(second, tuple):
        pairs = zip(first, second, strict=False)
        return len(first) == len(second) and all(_same(a, b) for a, b in pairs)
    both_nan = first != first and second != second
    return both_nan or (type(first) is type(second) and first == second)


@pytest.mark.parametrize("make", [truthfulness, refusal, lambda: refusal(usable=False)])
def test_a_result_comes_back_from_disk_as_it_was(make, tmp_path: Path):
    result = make()
    folder = result.save(tmp_path / "result")
    loaded = results.load(folder)
    assert _same(result, loaded)
    assert _same(type(result).load(folder), result)
    rows = pd.read_parquet(folder / "rows.parquet")
    pd.testing.assert_frame_equal(rows, result.to_dataframe())


def test_same_sees_a_difference():
    first, second = truthfulness(), truthfulness()
    assert _same(first, second)
    second.auroc[0, 0, 0] += 0.5
    assert not _same(first, second)
    assert not _same(refusal(), refusal(usable=False))


def test_the_frame_has_one_row_per_cell_with_the_right_values():
    result = truthfulness()
    frame = result.to_dataframe()
    assert len(frame) == 2 * 2 * 8
    cells = frame.set_index(["direction_model", "activation_model", "layer"])
    assert cells.loc[("post", "base", 5), "auroc"] == result.auroc[1, 0, 5]
    assert cells.loc[("base", "post", 5), "cosine"] == result.cosine[5]


def test_load_accepts_a_run_folder_and_the_file_itself(tmp_path: Path):
    truthfulness().save(tmp_path / "run" / "result")
    for path in ("run", "run/result", "run/result/result.json"):
        assert isinstance(results.load(tmp_path / path), TruthfulnessComparison)


def test_saving_again_replaces_the_result_and_nothing_is_left_over(tmp_path: Path):
    folder = truthfulness(0).save(tmp_path / "r")
    truthfulness(1).save(folder)
    assert _same(results.load(folder), truthfulness(1))
    assert [p.name for p in tmp_path.iterdir()] == ["r"]
    assert sorted(p.name for p in folder.iterdir()) == [
        "arrays.safetensors",
        "result.json",
        "rows.parquet",
    ]


def test_a_failed_save_keeps_the_older_result(tmp_path: Path, monkeypatch):
    folder = truthfulness(0).save(tmp_path / "r")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_parquet", full)
    with pytest.raises(DiskFullError, match="disk is full"):
        truthfulness(1).save(folder)
    assert _same(results.load(folder), truthfulness(0))
    assert [p.name for p in tmp_path.iterdir()] == ["r"]


def test_a_folder_with_other_files_is_not_overwritten(tmp_path: Path):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(ResultError, match="not a result"):
        truthfulness().save(tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "precious"


def test_a_wrong_shape_or_type_is_refused_when_saving(tmp_path: Path):
    result = truthfulness()
    object.__setattr__(result, "cosine", np.zeros(5, np.float32))
    with pytest.raises(ShapeError, match=r"'cosine' is float32\[5\]"):
        result.save(tmp_path / "a")
    object.__setattr__(result, "cosine", np.zeros(8, np.float64))
    with pytest.raises(ShapeError, match=r"float64\[8\]; Float32\[layer\]"):
        result.save(tmp_path / "a")
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("name", ["result.json", "arrays.safetensors", "rows.parquet"])
@pytest.mark.parametrize("damage", ["missing", "truncated", "flipped", "empty"])
def test_any_damage_is_refused_with_the_name_of_the_file(
    name: str, damage: str, tmp_path: Path
):
    folder = truthfulness().save(tmp_path / "r")
    path = folder / name
    data = path.read_bytes()
    match damage:
        case "missing":
            path.unlink()
        case "truncated":
            path.write_bytes(data[: len(data) // 2])
        case "flipped":
            # In JSON a flipped brace; elsewhere one bit in the middle.
            middle = 0 if name == "result.json" else len(data) // 2
            path.write_bytes(
                data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
            )
        case "empty":
            path.write_bytes(b"")
    with pytest.raises(ResultError, match=name) as caught:
        results.load(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(kind="astrology"), "no kind of result called 'astrology'"),
        (lambda d: d.update(kind=["x"]), "no kind of result called"),
        (lambda d: d.update(schema=99), "schema 99.*Update interp"),
        (lambda d: d.update(schema="1"), "schema version is not a number"),
        (lambda d: d["values"].pop("centring"), "'centring' is missing"),
        (lambda d: d["values"].update(zzz=1), "'zzz' is missing or unknown"),
        (lambda d: d["values"].update(position=3), "position: .*string"),
        (lambda d: d["values"].update(models=["one"]), "models"),
        (lambda d: d["values"]["counts"][0].update(split="dev"), "counts.0.split"),
        (lambda d: d["values"]["provenance"].update(seed="x"), "provenance.seed"),
        (lambda d: d.pop("files"), "does not describe a result"),
        (lambda d: d.update(files={}), "checksum"),
    ],
)
def test_a_foreign_description_is_refused_by_field(change, message, tmp_path: Path):
    folder = truthfulness().save(tmp_path / "r")
    description = json.loads((folder / "result.json").read_text())
    change(description)
    (folder / "result.json").write_text(json.dumps(description))
    with pytest.raises(ResultError, match=message):
        results.load(folder)


def test_an_older_file_without_a_field_that_has_a_default_still_loads(tmp_path: Path):
    folder = truthfulness().save(tmp_path / "r")
    description = json.loads((folder / "result.json").read_text())
    del description["values"]["notes"]
    (folder / "result.json").write_text(json.dumps(description))
    assert TruthfulnessComparison.load(folder).notes == ()


def test_no_folder_no_result_and_the_wrong_kind_are_told_apart(tmp_path: Path):
    with pytest.raises(ResultError, match="There is no folder"):
        results.load(tmp_path / "nowhere")
    with pytest.raises(ResultError, match=r"holds no result\.json"):
        results.load(tmp_path)
    (tmp_path / "spec.toml").write_text("")
    with pytest.raises(ResultError, match=r"no result yet.*resumes"):
        results.load(tmp_path)
    refusal().save(tmp_path / "r")
    with pytest.raises(ResultError, match=r"'refusal'.*'truthfulness' was"):
        TruthfulnessComparison.load(tmp_path / "r")


def test_a_result_set_aside_by_a_dead_process_is_found_again(tmp_path: Path):
    folder = truthfulness().save(tmp_path / "r")
    shutil.move(folder, tmp_path / ".r.0123456789abcdef.old")
    assert isinstance(results.load(folder), TruthfulnessComparison)


def test_the_files_hold_neither_nan_tokens_nor_pickles(tmp_path: Path):
    folder = refusal(usable=False).save(tmp_path / "r")

    def refuse(token: str) -> None:
        raise AssertionError(token)

    json.loads((folder / "result.json").read_text(), parse_constant=refuse)
    assert {p.suffix for p in folder.iterdir()} == {".json", ".safetensors", ".parquet"}


def test_half_a_surrogate_pair_in_an_answer_does_not_stop_saving(tmp_path: Path):
    result = refusal()
    odd = dataclasses.replace(result.completions[0], completion="ok \ud83d end")
    object.__setattr__(result, "completions", (odd,))
    loaded = RefusalComparison.load(result.save(tmp_path / "r"))
    assert loaded.completions[0].completion == "ok ? end"


def test_conditions_count_refusals_with_wilson_intervals():
    result = refusal()
    row = result.condition("post", "harmful")
    assert row is not None
    expected = wilson(38, 40)
    assert (row.n, row.refused, row.rate) == (40, 38, 0.95)
    assert (row.low, row.high) == (expected.low, expected.high)
    assert result.condition("base", "harmless", intervention="ablate") is None


def test_an_answer_that_loops_is_no_refusal():
    answers = refusal().completions[:4]
    looping = tuple(dataclasses.replace(a, looping=True, refused=True) for a in answers)
    (row,) = conditions_of(looping)
    assert (row.n, row.refused, row.looping) == (4, 0, 4)


def test_headlines_say_what_was_found():
    found = truthfulness().headline()
    assert "layer 6" in found
    assert "cosine 0.71; labels shuffled separately in each give [-0.30, 0.30]" in found
    assert "shuffled alike [-0.18, 0.19]" in found
    nothing = truthfulness()
    nothing.auroc_low[:] = 0.4
    assert nothing.headline().startswith("No truth direction was found")
    said = refusal().headline()
    assert "refuses 95% of harmful" in said
    assert "5% of harmful ones refused when ablated" in said
    assert "98% of harmless ones refused when added" in said
    assert "38% of harmful ones" in refusal().effects_in_words("base")
    none = refusal(usable=False).headline()
    assert "no usable refusal direction" in none
    assert "changes harmless answers" in none


@pytest.mark.parametrize("make", [truthfulness, refusal])
def test_the_notebook_table_escapes_what_models_say(make):
    result = make()
    object.__setattr__(result, "models", ("<script>alert(1)</script>", "b"))
    if isinstance(result, RefusalComparison):
        chosen = dataclasses.replace(
            result.directions[1], layer=None, reason="<img src=x onerror=1>"
        )
        object.__setattr__(result, "directions", (result.directions[0], chosen))
    shown = result._repr_html_()
    assert "<table>" in shown
    assert "<script" not in shown
    assert "<img" not in shown


def test_provenance_travels_with_the_result(tmp_path: Path):
    loaded = results.load(truthfulness().save(tmp_path / "r"))
    assert loaded.provenance == provenance()
