"""What all tests share: no network, one thread each, the embedded models once."""

import gc
import os
from collections.abc import Generator
from pathlib import Path


# Before anything imports torch or a hub client. A test run never reaches out, keeps
# what it keeps inside the checkout, and runs one thread: two workers of one thread
# finish sooner than two that fight for the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["WANDB_MODE"] = "disabled"
os.environ["INTERP_HOME"] = str(Path(__file__).parent.parent / ".interp" / "tests")
os.environ.setdefault("INTERP_PROGRESS", "off")

import pytest
from hypothesis import HealthCheck, settings
from organism_fixtures import (
    demo as demo,
    facts_family as facts_family,
    family_home as family_home,
    induction_family as induction_family,
)


# How long a case takes says something of the machine, not of the code.
settings.register_profile(
    "patient", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("patient")

# Training a family takes minutes of one worker. Whoever needs it runs in that worker,
# so that the other one goes on with the rest instead of waiting for the same models.
FAMILIES = ("facts_family", "induction_family", "real_facts_family")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        needed = [
            name for name in FAMILIES if name in getattr(item, "fixturenames", ())
        ]
        if needed and item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(needed[0]))


# What collecting imports stays until the end. Searching it for garbage takes a fifth of
# the time of collecting, and later some of every test's.
@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()
