import errno
import time

import pytest
from forked import forked
from organism_fixtures import home_set_to

from interp.errors import ConfigError, DataError, DiskFullError, UnwritableError
from interp.home import interp_home
from interp.organism.cache import cached, copy_family, holds
from interp.organism.checks import Check
from interp.organism.family import Family, read_family, write_description


SPEC = "0123abcd"
CHECK = Check(name="recall", value=0.5, bound=0.9, required=False)


@pytest.fixture(autouse=True)
def home(tmp_path):
    with home_set_to(tmp_path / "home") as folder:
        yield folder


def fill(folder):
    (folder / "base").mkdir()
    (folder / "base" / "weights").write_text("w" * 1000)
    family = Family(
        folder=folder,
        name="facts",
        seed=0,
        spec=SPEC,
        checks=(CHECK,),
        notes=("seed 0 failed: recall",),
    )
    write_description(family, {"torch": "2"})


def files(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


def test_the_second_call_does_not_train_and_returns_the_same():
    calls = []

    def make(folder):
        calls.append(folder)
        fill(folder)

    first = cached("facts", SPEC, make)
    second = cached("facts", SPEC, make)
    assert len(calls) == 1
    assert first == second
    assert first.checks == (CHECK,)
    assert first.notes == ("seed 0 failed: recall",)
    assert (first.base / "weights").read_text() == "w" * 1000


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, MemoryError])
def test_an_interrupted_training_leaves_nothing(home, error):
    def make(folder):
        fill(folder)
        raise error

    with pytest.raises(error):
        cached("facts", SPEC, make)
    assert [name for name in files(home) if "facts" in name] == [
        f"organism/facts-{SPEC}.lock"
    ]
    assert cached("facts", SPEC, fill).spec == SPEC


def test_what_a_killed_process_left_is_swept_away(home):
    stray = home / "organism" / f".facts-{SPEC}.0123.part"
    stray.mkdir(parents=True)
    other = home / "organism" / ".facts-other.0123.part"
    other.mkdir()
    cached("facts", SPEC, fill)
    assert not stray.exists()
    assert other.exists()


def test_a_damaged_family_is_made_again(home):
    family = cached("facts", SPEC, fill)
    (family.folder / "family.json").write_text("{")
    assert cached("facts", SPEC, fill).checks == (CHECK,)


def started(seconds):
    """A process that trains slowly, and notes that it does."""

    def make(folder):
        with (folder.parent / "makers").open("a") as log:
            log.write("x")
        fill(folder)
        time.sleep(seconds)

    return forked(lambda: cached("facts", SPEC, make))


def test_two_processes_at_once_train_once_and_both_find_it(home):
    both = [started(0.3) for _ in range(2)]
    for process in both:
        process.join(timeout=120)
    assert [process.exitcode for process in both] == [0, 0]
    assert (home / "organism" / "makers").read_text() == "x"


def test_a_killed_training_leaves_nothing_that_is_taken_for_a_family(home):
    process = started(600)
    makers = home / "organism" / "makers"
    while not makers.exists():
        assert process.is_alive()
        time.sleep(0.01)
    process.kill()
    process.join()
    assert not (home / "organism" / f"facts-{SPEC}").exists()
    assert cached("facts", SPEC, fill).checks == (CHECK,)
    assert sorted(p.name for p in (home / "organism").iterdir()) == [
        f"facts-{SPEC}",
        f"facts-{SPEC}.lock",
        "makers",
    ]


def test_a_full_disk_is_one_clear_error_and_leaves_nothing(home):
    def make(folder):
        fill(folder)
        raise OSError(errno.ENOSPC, "No space left on device", str(folder / "x"))

    with pytest.raises(DiskFullError, match="disk is full"):
        cached("facts", SPEC, make)
    assert not (home / "organism" / f"facts-{SPEC}").exists()


def test_a_home_that_is_a_file_is_named(tmp_path):
    (tmp_path / "taken").write_text("")
    with home_set_to(tmp_path / "taken"), pytest.raises(UnwritableError, match="taken"):
        cached("facts", SPEC, fill)


def test_a_copy_is_whole_and_a_second_copy_is_not_needed(tmp_path):
    family = cached("facts", SPEC, fill)
    out = tmp_path / "out"
    assert not holds(out, SPEC)
    copy = copy_family(family, out)
    assert copy.folder == out
    assert files(out) == files(family.folder)
    assert holds(out, SPEC)


def test_a_folder_with_anything_else_is_refused_and_untouched(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    assert not holds(out, SPEC)
    (out / "thesis.tex").write_text("mine")
    with pytest.raises(ConfigError, match="is not empty"):
        holds(out, SPEC)
    assert (out / "thesis.tex").read_text() == "mine"
    with pytest.raises(ConfigError, match="is a file"):
        holds(out / "thesis.tex", SPEC)


def test_a_folder_without_a_family_is_named(tmp_path):
    with pytest.raises(DataError, match="does not hold an embedded model family"):
        read_family(tmp_path)


def test_home_follows_the_variable(home):
    assert interp_home() == home
