import math
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from interp.config import override, parse_spec, read_spec, spec_hash, to_toml
from interp.errors import ConfigError, InterpError, ShapeError


@dataclass(frozen=True, slots=True, kw_only=True)
class Capture:
    sites: tuple[str, ...] = ("resid_post.*",)
    batch_tokens: int = 4096
    dtype: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    base: str
    capture: Capture = field(default_factory=Capture)
    control: Capture | None = None
    folds: tuple[Capture, ...] = ()
    strength: float = 1.0
    save: bool = True

    def __post_init__(self) -> None:
        if self.strength < 0:
            raise ShapeError("The strength is negative.")


def _read(text: str, tmp_path: Path) -> Study:
    path = tmp_path / "study.toml"
    path.write_text(text)
    return read_spec(path, Study)


def test_a_file_becomes_nested_frozen_values(tmp_path: Path):
    spec = _read('base = "gpt2"\nstrength = 2\n[capture]\nsites = ["z.3"]', tmp_path)
    assert spec == Study(base="gpt2", strength=2.0, capture=Capture(sites=("z.3",)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('base = "x"\nstrenght = 1', r"'strenght'.*Did you mean 'strength'"),
        (
            'base = "x"\n[capture]\nbatch_token = 1',
            r"'capture.batch_token'.*batch_tokens",
        ),
        ('base = "x"\n[control]\nsite = 1', r"'control.site'"),
        ('base = "x"\n[[folds]]\n[[folds]]\nsite = 1', r"'folds.1.site'"),
        ("strength = 1.0", r"base: Field required"),
        ("base = 3", r"base: .*string.*given: 3"),
        ('base = "x"\nstrength = "1.0"', r"strength: .*number.*'1.0'.*float"),
        ('base = "x"\n[capture]\nbatch_tokens = 1.5', r"capture.batch_tokens"),
        ('base = "x"\nsave = 1', r"save: .*boolean"),
        ("base = 1 2", r"is not TOML.*line 1, column"),
        ('base = "x"\nstrength = -1', r"The strength is negative"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_key(text, message, tmp_path: Path):
    with pytest.raises(InterpError, match=message) as caught:
        _read(text, tmp_path)
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read_are_config_errors(tmp_path: Path):
    with pytest.raises(ConfigError, match="no settings file"):
        read_spec(tmp_path / "none.toml", Study)
    with pytest.raises(ConfigError, match="Cannot read"):
        read_spec(tmp_path, Study)
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not a text file"):
        read_spec(tmp_path / "binary.toml", Study)


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path):
    path = tmp_path / "bom.toml"
    path.write_bytes(b"\xef\xbb\xbfbase = 'x'\r\n")
    assert read_spec(path, Study).base == "x"


def test_overrides_reach_nested_values_and_keep_the_rest():
    spec = Study(base="gpt2", strength=0.5)
    changed = override(
        spec, ["capture.sites=['z.1', 'z.2']", "save=false", "control.dtype=float32"]
    )
    assert changed == Study(
        base="gpt2",
        strength=0.5,
        save=False,
        capture=Capture(sites=("z.1", "z.2")),
        control=Capture(dtype="float32"),
    )
    assert spec.save is True


def test_a_text_that_reads_as_a_number_stays_a_text():
    assert override(Study(base="a"), ["base=1000"]).base == "1000"
    assert override(Study(base="a"), ['base="b c"']).base == "b c"
    assert override(Study(base="a"), ["base=b=c"]).base == "b=c"


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("strenght=1", "'strenght'.*'strength'"),
        ("capture.batch_tokens=many", "capture.batch_tokens"),
        ("capture=3", "capture"),
        ("strength", "Cannot read the setting 'strength'"),
        ("=3", "Cannot read the setting"),
        ("base.x=3", "base"),
        ("strength=-2", "negative"),
    ],
)
def test_a_wrong_override_is_one_line(assignment: str, message: str):
    with pytest.raises(InterpError, match=message) as caught:
        override(Study(base="a"), [assignment])
    assert "\n" not in str(caught.value)


def test_one_item_for_a_list_is_told_how_a_list_is_written():
    with pytest.raises(InterpError, match=r"""--set 'capture.sites=\["a b"\]'"""):
        override(Study(base="a"), ["capture.sites=a b"])
    with pytest.raises(InterpError) as caught:
        override(Study(base="a"), ["strength=much"])
    assert not caught.value.remedy


def test_the_hash_depends_on_values_and_content_only():
    spec = Study(base="a")
    assert len(spec_hash(spec)) == 12
    assert spec_hash(spec) == spec_hash(Study(base="a", capture=Capture()))
    assert spec_hash(Study(base="a", strength=1)) == spec_hash(spec)
    different = {
        spec_hash(spec),
        spec_hash(Study(base="b")),
        spec_hash(Study(base="a", strength=1.5)),
        spec_hash(Study(base="a", strength=math.inf)),
        spec_hash(spec, content=["weights"]),
        spec_hash(Capture()),
    }
    assert len(different) == 6


_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@settings(max_examples=60, deadline=None)
@given(
    base=_TEXT,
    sites=st.lists(_TEXT, max_size=3).map(tuple),
    strength=st.floats(min_value=0, allow_nan=False),
    dtype=st.none() | _TEXT,
    tokens=st.integers(-(2**40), 2**40),
)
def test_toml_comes_back_as_the_same_settings(base, sites, strength, dtype, tokens):
    nested = Capture(sites=sites, batch_tokens=tokens, dtype=dtype)
    spec = Study(
        base=base,
        strength=strength,
        capture=nested,
        control=nested,
        folds=(nested,) * 2,
    )
    again = parse_spec(tomllib.loads(to_toml(spec)), Study)
    assert again == spec
    assert spec_hash(again) == spec_hash(spec)


def test_a_none_that_would_be_lost_is_refused():
    @dataclass(frozen=True)
    class Odd:
        limit: int | None = 3

    with pytest.raises(ConfigError, match="limit"):
        to_toml(Odd(limit=None))
