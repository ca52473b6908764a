"""A refusal study that is stopped by a signal goes on to the same bytes."""

import json
import os
import signal

import pytest
from fault_work import content

from interp import stopping
from probes.cli.run import run
from probes.studies.refusal import answering, candidates_grid


@pytest.fixture
def words(facts_family, tmp_path):
    """A small study of the trained family, but for its folder."""
    settings = {
        "base": str(facts_family.base),
        "post": str(facts_family.post),
        "harmful": [str(facts_family.harmful)],
        "harmless": [str(facts_family.harmless)],
        "n_train": 8,
        "n_val": 4,
        "n_test": 2,
        "max_new_tokens": 2,
        "coefficients": [1.0],
        "resamples": 10,
    }
    path = tmp_path / "refusal.toml"
    lines = [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
    path.write_text("\n".join(lines) + "\n")
    return ["study", "refusal", str(path), "--out"]


@pytest.mark.usefixtures("listening")
def test_a_study_stopped_while_scoring_and_while_answering_gives_the_same_bytes(
    words, tmp_path, monkeypatch
):
    # One candidate a part, so that there is something left to do.
    monkeypatch.setattr(candidates_grid, "TOKENS_KEPT", 1)
    done: dict[str, list[str]] = {"scores": [], "answers": []}
    stops = {"scores": 0, "answers": 0}

    def counted(kind, original):
        def made(*given):
            done[kind].append(str(given[1:]))
            if len(done[kind]) == stops[kind]:
                os.kill(os.getpid(), signal.SIGTERM)
            return original(*given)

        return made

    grid = candidates_grid.Grid
    monkeypatch.setattr(grid, "_run", counted("scores", grid._run))
    monkeypatch.setattr(answering, "_answers", counted("answers", answering._answers))
    assert run([*words, str(tmp_path / "whole")]) == 0
    whole = {kind: names.copy() for kind, names in done.items()}
    assert len(whole["scores"]) > 8
    for names in done.values():
        names.clear()

    out = tmp_path / "out"
    stops |= {"scores": 5, "answers": 3}
    assert run([*words, str(out)]) == stopping.StoppedError.exit_code
    assert (len(done["scores"]), len(done["answers"])) == (5, 0)
    assert len([*out.rglob("scores-*.safetensors")]) == 5
    stopping.listen()
    assert run([*words, str(out)]) == stopping.StoppedError.exit_code
    assert len(done["answers"]) == 3
    stopping.listen()
    assert run([*words, str(out)]) == 0
    assert done == whole, "a finished part was made again, or left out"
    assert content(out) == content(tmp_path / "whole")
