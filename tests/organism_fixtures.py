"""The embedded families for the tests of every folder, trained once.

They are kept in pytest's cache folder under a hash of the code that makes them, so that
they are trained anew when that changes, and once for all workers.
"""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared"


def _code_hash() -> str:
    digest = hashlib.sha256()
    for path in sorted((ROOT / "interp" / "organism").glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


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
def family_home(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The `INTERP_HOME` that all workers of all runs of this code share."""
    kept = getattr(pytestconfig, "cache", None)  # absent with -p no:cacheprovider
    if kept is not None:
        return Path(kept.mkdir(f"organism-{_code_hash()}"))
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    return base / "interp-home"


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
