"""Shards of one piece of work: every part belongs to exactly one of them."""

import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from interp.errors import ConfigError
from interp.sharding import (
    OthersMissingError,
    Shard,
    claim,
    is_mine,
    parse_shard,
    present_shard,
    require_all,
    restricted,
    without_shard,
)


COMMANDS = {"capture", "track", "compare"}
EXAMPLES = Path(__file__).parents[1] / "examples"


@given(count=st.integers(1, 20), parts=st.integers(0, 100))
def test_every_part_belongs_to_exactly_one_shard(count, parts):
    shards = [Shard(index=index, count=count) for index in range(count)]
    for part in range(parts):
        assert sum(shard.has(part) for shard in shards) == 1


@pytest.mark.parametrize("text", ["", "1", "4/4", "-1/4", "1/0", "a/b", "1/2/3"])
def test_a_text_that_names_no_shard_is_refused_with_the_form_that_does(text):
    with pytest.raises(ConfigError, match=r"0/4|counted from 0"):
        parse_shard(text)


def test_no_shards_at_all_are_not_counted():
    with pytest.raises(ConfigError, match=r"no shard 0 of 0\. There is at least one"):
        parse_shard("0/0")


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        (
            {"SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_TASK_COUNT": "8"},
            Shard(index=3, count=8),
        ),
        (
            {
                "SLURM_ARRAY_TASK_ID": "1",
                "SLURM_ARRAY_TASK_MIN": "1",
                "SLURM_ARRAY_TASK_COUNT": "8",
            },
            Shard(index=0, count=8),
        ),
        ({"RANK": "1", "WORLD_SIZE": "4"}, Shard(index=1, count=4)),
        ({"RANK": "0", "WORLD_SIZE": "1"}, None),
    ],
)
def test_auto_reads_slurm_and_torchrun(environment, expected):
    assert parse_shard("auto", environment=environment) == expected


def test_auto_outside_of_both_says_which_variables_it_looked_for():
    with pytest.raises(ConfigError, match=r"SLURM_ARRAY_TASK_ID.*RANK.*torchrun"):
        parse_shard("auto", environment={})
    with pytest.raises(ConfigError, match="RANK is 'x'"):
        parse_shard("auto", environment={"RANK": "x", "WORLD_SIZE": "2"})


@pytest.mark.parametrize(
    "path", sorted(EXAMPLES.glob("cluster/*.sh")), ids=lambda p: p.name
)
def test_the_examples_for_clusters_are_shell_that_names_real_commands(path):
    subprocess.run(["bash", "-n", path], check=True)
    for words in re.findall(r"interp (\w+) [^\n]*", path.read_text()):
        assert words in COMMANDS


@pytest.mark.parametrize(
    "path", sorted(EXAMPLES.glob("studies/*.toml")), ids=lambda p: p.name
)
def test_the_example_settings_are_read_by_their_study(path):
    from interp.config import read_spec
    from probes.studies.kinds import checked_name, spec_class

    study = re.search(r"interp study (\w+)", path.read_text())
    assert study is not None
    spec = read_spec(path, spec_class(checked_name(study[1])))
    assert spec.base != spec.post


def test_a_shard_holds_inside_its_block_only():
    with restricted(Shard(index=1, count=2)):
        assert [part for part in range(4) if is_mine(part)] == [1, 3]
        with restricted(None):
            claim(Shard(index=0, count=2))
            assert is_mine(0)
            assert not is_mine(1)
        assert is_mine(1)
    assert present_shard() is None
    assert is_mine(0)


def test_missing_parts_of_others_are_no_failure_but_stop_the_work():
    require_all(0, of=3, what="parts")
    with (
        restricted(Shard(index=0, count=2)),
        pytest.raises(OthersMissingError, match="Shard 0/2 is done; 2 of 3 parts"),
    ):
        require_all(2, of=3, what="parts")
    assert OthersMissingError.exit_code == 0


def test_the_command_that_repeats_a_result_names_no_shard():
    assert without_shard(["a", "--shard=1/2", "--x"]) == ["a", "--x"]
