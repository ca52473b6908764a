"""The main job on real facts: a model that learned a table, compared on that table."""

import json

import pytest
from organism_fixtures import ROOT, real_facts_family as real_facts_family

from probes.cli.run import run


# A family of its own is trained for it.
@pytest.mark.slow
def test_truth_of_real_facts_is_found_in_both_models(
    real_facts_family, tmp_path, capsys
):
    family = real_facts_family
    facts = ROOT / "examples" / "facts.csv"
    command = [
        "compare",
        str(family.base),
        str(family.post),
        "--statements",
        str(facts),
        "--studies",
        "truthfulness",
    ]
    assert run([*command, "--out", str(tmp_path / "out"), "--json"]) == 0
    (truth,) = json.loads(capsys.readouterr().out)["studies"].values()
    for side in ("base", "post"):
        _, low, _ = truth["auroc"][f"{side}_direction_in_{side}"]
        assert low > 0.7, truth
    assert (tmp_path / "out" / "report.html").exists()
