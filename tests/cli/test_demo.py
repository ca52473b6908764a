"""`interp demo --quick`: from nothing to a report."""

import json

from probes.cli.run import run


def test_the_demo_ends_with_a_report(facts_family, tmp_path, capsys):
    # The fixture has trained the family that the quick demo asks for.
    del facts_family
    out = tmp_path / "demo"
    assert run(["demo", "--quick", "--out", str(out), "--json"]) == 0
    said = capsys.readouterr()
    found = json.loads(said.out)
    studies = {"truthfulness", "refusal", "knowledge", "confidence"}
    assert set(found["studies"]) == studies
    assert (out / "report.html").stat().st_size > 100_000
    assert f"interp demo --out {out} --quick" in (out / "report.html").read_text()
    lines = [line for line in said.err.splitlines() if line.strip()]
    assert str(out / "report.html") in lines[-2]
    assert lines[-1].endswith(f"interp explore {out}")
    # A dozen lines for each study, and no table.
    assert len(lines) <= 12 * len(studies)
