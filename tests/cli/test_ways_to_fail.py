"""How a command ends that cannot go on: exit code, one line, or an object."""

import json
import os

import pytest

from interp.errors import InterpError
from probes.cli.run import run


def test_with_json_the_error_is_an_object_on_stdout(place, capsys):
    assert run([*place.capture("--sites", "resid_pst.*"), "--json"]) == 2
    answer = json.loads(capsys.readouterr().out)
    assert answer["ok"] is False
    assert answer["error"]["kind"] == "UnknownSiteError"
    assert "resid_pst" in answer["error"]["message"]


def test_a_demo_does_not_train_for_a_place_that_is_a_file(place, capsys, monkeypatch):
    import interp.organism

    monkeypatch.setattr(interp.organism, "train", None)
    assert run(["demo", "--out", str(place.statements), "--quick"]) == 2
    assert "a file of this name is in the way" in capsys.readouterr().err


def test_the_doctor_names_a_folder_that_is_not_there(place, capsys):
    assert run(["doctor", "--folder", str(place.folder / "nowhere")]) == 2
    assert "nowhere" in capsys.readouterr().err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_an_unwritable_folder_is_named(place, capsys):
    place.folder.chmod(0o500)
    try:
        assert run(place.capture("--out", place.folder / "new")) == 2
    finally:
        place.folder.chmod(0o700)
    assert "new" in capsys.readouterr().err


def test_a_full_disk_is_refused_before_anything_is_computed(place, capsys, monkeypatch):
    import shutil

    usage = shutil.disk_usage(place.folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    assert run(place.capture()) == 3
    assert "disk has" in capsys.readouterr().err
    assert not list((place.folder / "store").rglob("*.safetensors"))


def test_a_bug_says_that_it_is_one(place, capsys, monkeypatch):
    import interp.store.capturing

    def broken(*args: object, **kwargs: object) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(interp.store.capturing, "capture", broken)
    assert run(place.capture()) == 1
    assert "This is a bug in interp: ZeroDivisionError: oops" in capsys.readouterr().err


def test_ctrl_c_says_how_to_go_on(place, capsys, monkeypatch):
    import interp.store.capturing

    def interrupted(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(interp.store.capturing, "capture", interrupted)
    assert run(place.capture()) == 130
    assert "Run the same command again" in capsys.readouterr().err


def test_a_home_that_the_shell_left_unresolved_is_found(place, monkeypatch):
    """As in `--out=~/store`, where most shells see no home."""
    home = place.folder / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(place.folder)
    assert run(place.capture("--limit", 2, "--out", "~/store")) == 0
    assert (home / "store" / "manifest.json").is_file()
    assert not (place.folder / "~").exists()


def test_every_error_class_is_also_a_builtin():
    def tree(kind: type) -> list[type]:
        return [kind, *(k for sub in kind.__subclasses__() for k in tree(sub))]

    bare = [
        kind.__name__
        for kind in tree(InterpError)[1:]
        if not any(
            issubclass(base, Exception) and base.__module__ == "builtins"
            for base in kind.__mro__
            if base not in (Exception, BaseException, object)
        )
    ]
    assert bare == ["StoppedError"]
