"""What lies below a folder: all of it, nothing else, and not read twice."""

import os

import pytest
from sample_results import truthfulness

from interp.errors import ResultError
from interp.results import find
from interp_explorer import catalog as module
from interp_explorer.catalog import catalog, check_inside
from interp_explorer.widgets.text import escaped


pytestmark = pytest.mark.xdist_group("explorer")


def test_runs_are_those_that_the_library_finds_and_results_beside_them(folder):
    found = catalog(folder)
    runs = {entry.path for entry in found.entries if entry.is_run}
    assert runs == {run.path for run in find(folder)}
    others = {entry.name for entry in found.entries if not entry.is_run}
    assert others == {"neurons", "heads"}
    assert found.complete


def test_a_run_or_a_result_can_be_opened_by_itself(folder):
    run = find(folder)[0].path
    assert [entry.name for entry in catalog(run).entries] == ["."]
    assert [entry.kind for entry in catalog(folder / "heads").entries] == ["heads"]


def test_an_unchanged_folder_is_not_read_again(tmp_path, monkeypatch):
    truthfulness().save(tmp_path / "a")
    truthfulness().save(tmp_path / "b")
    read = []
    real = module.read_description
    monkeypatch.setattr(
        module, "read_description", lambda path: read.append(path.name) or real(path)
    )
    first = catalog(tmp_path)
    assert sorted(read) == ["a", "b"]
    assert catalog(tmp_path) == first
    assert sorted(read) == ["a", "b"]
    truthfulness(seed=1).save(tmp_path / "b")
    assert catalog(tmp_path) != first
    assert sorted(read) == ["a", "b", "b"]


def test_links_that_lead_out_are_named_and_not_read(tmp_path):
    outside = tmp_path / "outside"
    truthfulness().save(outside / "secret")
    inside = tmp_path / "inside"
    truthfulness().save(inside / "own")
    (inside / "folder").symlink_to(outside)
    truthfulness().save(inside / "file")
    (inside / "file" / "result.json").unlink()
    target = outside / "secret" / "result.json"
    (inside / "file" / "result.json").symlink_to(target)
    found = catalog(inside)
    assert [entry.name for entry in found.entries] == ["own"]
    assert set(found.refused) == {"folder", "file"}
    with pytest.raises(ResultError, match="leads out"):
        check_inside(inside / "file" / "result.json", inside)


def test_a_loop_of_links_ends(tmp_path):
    truthfulness().save(tmp_path / "a" / "r")
    (tmp_path / "a" / "back").symlink_to(tmp_path)
    assert [entry.name for entry in catalog(tmp_path).entries] == ["a/r"]


def test_a_damaged_result_is_listed_as_damaged(tmp_path):
    truthfulness().save(tmp_path / "r")
    (tmp_path / "r" / "result.json").write_text("{")
    (entry,) = catalog(tmp_path).entries
    assert (entry.state, entry.kind) == ("damaged", "")
    assert "result.json" in entry.headline


def test_a_folder_that_may_not_be_read_is_passed_over(tmp_path, monkeypatch):
    truthfulness().save(tmp_path / "good" / "r")
    (tmp_path / "bad").mkdir()
    real = os.scandir

    def scan(path):
        if str(path).endswith("bad"):
            raise PermissionError(13, "no")
        return real(path)

    monkeypatch.setattr(module.os, "scandir", scan)
    assert [entry.name for entry in catalog(tmp_path).entries] == ["good/r"]


def test_an_absent_folder_is_an_error(tmp_path):
    with pytest.raises(ResultError, match="There is no folder"):
        catalog(tmp_path / "none")


def test_too_many_folders_are_cut_and_it_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MAX_FOLDERS", 3)
    for name in "abcdef":
        (tmp_path / name).mkdir()
    assert not catalog(tmp_path).complete


def test_escaped_text_has_no_bare_mark():
    assert escaped("a\n<b> ![x](y) `c` $d$ :red[e]") == (
        r"a \<b\> \!\[x\]\(y\) \`c\` \$d\$ \:red\[e\]"
    )
