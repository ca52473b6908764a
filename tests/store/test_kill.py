import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
def test_a_store_filled_through_kills_equals_an_undisturbed_one(tmp_path):
    root = Path(__file__).parents[2]
    script = Path(__file__).with_name("kill_loop.py")
    environment = {**os.environ, "PYTHONPATH": str(root), "INTERP_PROGRESS": "off"}
    run = subprocess.run(
        [sys.executable, str(script), str(tmp_path), "0"],
        capture_output=True,
        text=True,
        env=environment,
        timeout=300,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    seen = json.loads(run.stdout)
    kills = [entry for entry in seen["times"] if "whole" in entry]
    stores = [entry for entry in seen["times"] if "equal" in entry]
    assert len(kills) >= 20
    # The kills must fall into the work, not only before or after it.
    assert any(0 < kill["whole"] < 12 for kill in kills)
    assert any(kill["strays"] for kill in kills)
    assert all(store["equal"] for store in stores)
    assert sum(event["killed"] for event in seen["events"]) >= 15
    assert all(event["equal"] for event in seen["events"])
