import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from interp import data
from interp.data import hub
from interp.data.hub import is_hub_id
from interp.errors import DataError, OfflineError


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("owner/name", True),
        ("owner/name:config@train[:10]", True),
        ("owner/name@test", True),
        ("data/cities.csv", False),
        ("owner/name.parquet", False),
        ("./owner/name", False),
        ("cities", False),
        ("a/b/c", False),
        ("/owner/name", False),
    ],
)
def test_ids_are_told_from_paths(source: str, expected: bool):
    assert is_hub_id(source) is expected


def test_a_local_folder_of_that_name_is_a_path(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert is_hub_id("data/cities")
    (tmp_path / "data").mkdir()
    assert not is_hub_id("data/cities")


def test_offline_is_one_fast_line(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    start = time.perf_counter()
    with pytest.raises(
        OfflineError, match=r"'owner/none@test'.*not reachable.*hf download"
    ) as caught:
        data.statements("owner/none@test")
    # The first use pays for importing `datasets`.
    assert time.perf_counter() - start < 20
    assert "\n" not in str(caught.value)


def test_a_hub_that_never_answers_is_given_up_on(monkeypatch):
    monkeypatch.setattr(hub, "SECONDS_TO_REACH_THE_HUB", -0.9)

    def hang(*_: object, **__: object) -> None:
        time.sleep(3)

    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", hang)
    start = time.perf_counter()
    assert hub._reachable("owner/name") is False
    assert time.perf_counter() - start < 2


def _answer(monkeypatch, error: Exception) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", fail)


def test_a_data_set_that_does_not_exist_or_is_gated_is_named(monkeypatch):
    from huggingface_hub import errors

    for kind, message in (
        (errors.RepositoryNotFoundError, r"no data set 'owner/none'.*hf auth login"),
        (errors.GatedRepoError, r"'owner/none' is gated.*Accept its terms"),
    ):
        # The exceptions want a response of the client's own HTTP library.
        error = kind.__new__(kind)
        Exception.__init__(error, "404")
        _answer(monkeypatch, error)
        with pytest.raises(DataError, match=message):
            data.statements("owner/none")


def test_no_name_server_counts_as_offline(monkeypatch):
    _answer(monkeypatch, httpx.ConnectError("no name server"))
    assert hub._reachable("owner/name") is False


def test_a_split_of_a_data_set_is_read_like_a_file(monkeypatch):
    import datasets

    table = datasets.Dataset.from_dict(
        {"claim": ["a is b.", "c is d."], "label": [1, 0], "city": ["A", "C"]}
    )
    asked: list[tuple[object, ...]] = []

    def load(repo: str, config: str | None, *, split: str | None):
        asked.append((repo, config, split))
        return table if split else datasets.DatasetDict({"test": table})

    monkeypatch.setattr(datasets, "load_dataset", load)
    monkeypatch.setattr(hub, "_reachable", lambda repo: True)
    found = data.statements("owner/name:en@test", statement="claim")
    assert asked == [("owner/name", "en", "test")]
    assert found.prompts == ("a is b.", "c is d.")
    assert found.groups == ("A", "C")
    assert found.name == "owner/name:en@test"
    assert len(data.statements("owner/name", statement="claim")) == 2
    with pytest.raises(DataError, match="no column 'statement'"):
        data.statements("owner/name")


def test_what_the_hub_library_says_becomes_one_line(monkeypatch):
    import datasets

    def load(*_: object, **__: object) -> None:
        raise ValueError(
            "Unknown split 'tset'. Should be one of ['train', 'test'].\nmore"
        )

    monkeypatch.setattr(datasets, "load_dataset", load)
    monkeypatch.setattr(hub, "_reachable", lambda repo: True)
    with pytest.raises(DataError, match="Unknown split") as caught:
        data.statements("owner/name@tset")
    assert "\n" not in str(caught.value)
    assert "Did you mean" in str(caught.value)


def test_reading_a_file_imports_neither_torch_nor_the_hub_library(tmp_path: Path):
    path = tmp_path / "a.csv"
    path.write_text("statement,label\na is b.,1\nc is d.,0\n")
    code = (
        "import sys, interp.data; interp.data.statements(sys.argv[1]); "
        "heavy = {'torch', 'transformers', 'datasets', 'huggingface_hub', 'sklearn'}; "
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
