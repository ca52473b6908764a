import dataclasses
import json
import subprocess
import sys

import pytest
from sample_results import provenance

from interp.errors import ResultError
from interp.provenance import (
    DatasetRecord,
    ModelRecord,
    differences,
    from_json,
    git_commit,
    record,
    to_json,
    versions,
)


def test_provenance_survives_json():
    first = provenance()
    assert from_json(json.loads(json.dumps(to_json(first)))) == first


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda d: d.pop("study"), "study"),
        (lambda d: d.update(seed="zero"), "seed"),
        (lambda d: d["models"][0].update(dtype=3), "models.0.dtype"),
    ],
)
def test_a_damaged_provenance_names_the_field(damage, message: str):
    value = json.loads(json.dumps(to_json(provenance())))
    damage(value)
    with pytest.raises(ResultError, match=message):
        from_json(value, where="provenance.json")


def test_differences_are_fields_that_should_agree():
    first = provenance()
    assert differences(first, first) == ()
    model = first.models[1]
    second = dataclasses.replace(
        first,
        seed=3,
        datasets=(DatasetRecord(name="cities.csv", fingerprint="other", rows=300),),
        models=(first.models[0], dataclasses.replace(model, dtype="bfloat16")),
    )
    assert differences(first, second) == ("seed", "datasets", "models[1].dtype")


def test_time_place_and_the_compared_model_are_no_differences_unless_asked():
    first = provenance()
    other = dataclasses.replace(first.models[0], name="owner/other", weights_hash="dd")
    second = dataclasses.replace(
        first,
        created="2027",
        git_commit="",
        command="x",
        versions=(),
        models=(other, first.models[1]),
        datasets=(dataclasses.replace(first.datasets[0], name="copy.jsonl"),),
    )
    assert differences(first, second) == ()
    found = differences(first, second, same_models=True)
    assert found == ("models[0].name", "models[0].weights_hash")


def test_another_number_of_models_is_a_difference():
    first = provenance()
    assert differences(first, dataclasses.replace(first, models=())) == ("models",)


def test_record_fills_in_versions_time_and_command():
    made = record("refusal", models=[ModelRecord(name="m")], seed=4, command="interp x")
    assert (made.study, made.seed, made.command) == ("refusal", 4, "interp x")
    assert made.created.endswith("+00:00")
    assert dict(made.versions)["numpy"]
    assert len(made.git_commit.rstrip("+")) in (0, 40)
    assert made.git_commit == git_commit()


def test_versions_are_read_without_importing_the_packages():
    code = (
        "import sys; from interp.provenance import versions; found = dict(versions()); "
        "assert 'torch' in found, found; assert 'torch' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert dict(versions())["python"] == ".".join(map(str, sys.version_info[:3]))
