"""`interp demo --quick`: from nothing to a report."""

import json


def test_the_demo_ends_with_a_report(demo):
    out = demo.out
    found = json.loads(demo.stdout)
    studies = {"truthfulness", "refusal", "knowledge", "confidence"}
    assert set(found["studies"]) == studies
    assert (out / "report.html").stat().st_size > 100_000
    assert f"interp demo --out {out} --quick" in (out / "report.html").read_text()
    lines = [line for line in demo.stderr.splitlines() if line.strip()]
    assert str(out / "report.html") in lines[-2]
    assert lines[-1].endswith(f"interp explore {out}")
    # A dozen lines for each study, and no table.
    assert len(lines) <= 12 * len(studies)
