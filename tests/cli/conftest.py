from pathlib import Path

import pytest
from bad_commands import Place
from tiny import saved_tiny_model


@pytest.fixture(scope="session")
def tiny_pair(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pair")
    base = saved_tiny_model(folder / "base", "llama")
    post = saved_tiny_model(folder / "post", "gpt2")
    return Path(base), Path(post)


@pytest.fixture
def place(tmp_path, tiny_pair):
    return Place(tmp_path, *tiny_pair)
