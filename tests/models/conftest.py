from pathlib import Path

import pytest
from tiny import saved_tiny_model


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved_tiny_model(tmp_path_factory.mktemp("saved"), "llama")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return saved_tiny_model(tmp_path, "llama")
