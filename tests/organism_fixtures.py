"""The embedded families for the tests of every folder, trained once.

They are kept from run to run and shared by all workers; a change of the code that makes
them is another spec, so they are trained anew then.
"""

import contextlib
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest


ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared"


@contextmanager
def home_set_to(folder: Path) -> Iterator[Path]:
    """`INTERP_HOME` inside the block."""
    before = os.environ.get("INTERP_HOME")
    os.environ["INTERP_HOME"] = str(folder)
    try:
        yield folder
    finally:
        if before is None:
            del os.environ["INTERP_HOME"]
        else:
            os.environ["INTERP_HOME"] = before


@pytest.fixture(scope="session")
def family_home() -> Path:
    """Where the families of all workers and runs are kept (see `conftest`)."""
    return Path(os.environ["INTERP_HOME"])


@pytest.fixture(scope="session")
def facts_family(family_home: Path):
    """A small `facts` family: BASE, POST, checkpoints, statements, instructions."""
    from interp.organism import train

    with home_set_to(family_home):
        return train("facts", size="small")


@pytest.fixture(scope="session")
def induction_family(family_home: Path):
    """A small `induction` family: a checkpoint series."""
    from interp.organism import train

    with home_set_to(family_home):
        return train("induction", size="small")


@pytest.fixture(scope="session")
def real_facts_family(family_home: Path):
    """A small `facts` family that learned the real facts of `examples/facts.csv`."""
    from interp.organism import train

    with home_set_to(family_home):
        return train("facts", facts=ROOT / "examples" / "facts.csv", size="small")


@dataclass(frozen=True, slots=True, kw_only=True)
class Demo:
    """What `interp demo --quick --json` wrote and said."""

    out: Path
    stdout: str
    stderr: str


@pytest.fixture(scope="session")
def demo(facts_family, tmp_path_factory) -> Demo:
    """The demo on the trained family: real results of four studies."""
    from probes.cli.run import run

    # The fixture has trained the family that the quick demo asks for.
    del facts_family
    out = tmp_path_factory.mktemp("demo") / "demo"
    stdout, stderr = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
        assert run(["demo", "--quick", "--out", str(out), "--json"]) == 0
    return Demo(out=out, stdout=stdout.getvalue(), stderr=stderr.getvalue())
