import struct
import time
import tracemalloc

import gguf
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from interp.directions import Direction
from interp.errors import (
    ConfigError,
    DataError,
    IncompatibleError,
    InterpError,
    ShapeError,
)
from interp.interchange import read_control_vector, write_control_vector


RNG = np.random.default_rng(0)
VECTORS = {layer: RNG.normal(size=48).astype(np.float32) for layer in (1, 2, 11)}


def directions(vectors=VECTORS, **facts):
    return [
        Direction(
            unit=vector / np.linalg.norm(vector),
            scale=float(np.linalg.norm(vector)),
            site=f"resid_post.{layer}",
            **facts,
        )
        for layer, vector in vectors.items()
    ]


def text(value):
    return struct.pack("<Q", len(value.encode())) + value.encode()


def fact(key, kind, packed):
    return text(key) + struct.pack("<I", kind) + packed


def entry(name, *, shape=(4,), kind=0, offset=0):
    sizes = b"".join(struct.pack("<Q", n) for n in shape)
    shape_bytes = struct.pack("<I", len(shape)) + sizes
    return text(name) + shape_bytes + struct.pack("<IQ", kind, offset)


FACTS = (
    fact("general.architecture", 8, text("controlvector")),
    fact("controlvector.model_hint", 8, text("llama")),
    fact("controlvector.layer_count", 4, struct.pack("<I", 2)),
)
ENTRIES = (entry("direction.1"), entry("direction.2", offset=32))
DATA = np.arange(1, 5, dtype="<f4").tobytes().ljust(32, b"\0") * 2


def built(
    *,
    magic=b"GGUF",
    version=3,
    facts=FACTS,
    entries=ENTRIES,
    counts=None,
    data=DATA,
    alignment=32,
):
    """A file byte by byte, as the specification says."""
    n_tensors, n_facts = counts or (len(entries), len(facts))
    head = magic + struct.pack("<IQQ", version, n_tensors, n_facts)
    head += b"".join(facts) + b"".join(entries)
    return head.ljust(-(-len(head) // alignment) * alignment, b"\0") + data


def test_what_is_written_comes_back(tmp_path):
    written = directions(model="llama")
    path = write_control_vector(written[::-1], tmp_path / "new" / "truth.gguf")
    found = read_control_vector(path)
    assert [one.site for one in found] == [one.site for one in written]
    for one, other in zip(found, written, strict=True):
        np.testing.assert_allclose(one.unit, other.unit, atol=1e-7)
        assert one.scale == pytest.approx(other.scale, rel=1e-6)
        assert one.model == "llama"
    assert [file.name for file in path.parent.iterdir()] == ["truth.gguf"]


def test_the_package_reads_what_llama_cpp_expects(tmp_path):
    path = write_control_vector(directions(), tmp_path / "v.gguf", model_hint="qwen3")
    reader = gguf.GGUFReader(path)
    facts = {name: field.contents() for name, field in reader.fields.items()}
    assert facts["general.architecture"] == "controlvector"
    assert facts["controlvector.model_hint"] == "qwen3"
    assert facts["controlvector.layer_count"] == 3
    names = [tensor.name for tensor in reader.tensors]
    assert names == ["direction.1", "direction.2", "direction.11"]
    for tensor, vector in zip(reader.tensors, VECTORS.values(), strict=True):
        assert tensor.tensor_type == gguf.GGMLQuantizationType.F32
        assert tensor.shape.tolist() == [48]
        np.testing.assert_allclose(tensor.data, vector, rtol=1e-6)


def test_what_the_package_writes_is_read(tmp_path):
    # As repeng does, which numbers blocks from 0 and may steer the first one.
    path = tmp_path / "repeng.gguf"
    writer = gguf.GGUFWriter(path, "controlvector")
    writer.add_string("controlvector.model_hint", "mistral")
    writer.add_uint32("controlvector.layer_count", 3)
    writer.add_array("general.tags", ["a", "b"])
    writer.add_array("general.numbers", [1, 2, 3])
    writer.add_bool("general.flag", True)
    writer.add_float64("general.float", 0.5)
    writer.add_custom_alignment(64)
    vectors = {5: VECTORS[1], 0: VECTORS[2], 3: VECTORS[11].astype(np.float16)}
    for layer, vector in vectors.items():
        writer.add_tensor(f"direction.{layer}", vector)
    writer.add_tensor("other", np.ones((2, 3), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    found = read_control_vector(path)
    assert [one.layer for one in found] == [0, 3, 5]
    assert {one.model for one in found} == {"mistral"}
    for one, layer in zip(found, (0, 3, 5), strict=True):
        np.testing.assert_allclose(one.vector, vectors[layer], rtol=1e-6, atol=1e-7)


def test_a_file_built_from_the_specification_is_read(tmp_path):
    path = tmp_path / "v.gguf"
    path.write_bytes(built())
    first, second = read_control_vector(path)
    assert (first.site, second.site) == ("resid_post.1", "resid_post.2")
    np.testing.assert_allclose(second.vector, [1, 2, 3, 4], rtol=1e-6)
    path.write_bytes(built(entries=(entry("direction.1", shape=(4, 1, 1)),)))
    assert len(read_control_vector(path)) == 1


def test_a_direction_of_length_zero_is_left_out(tmp_path):
    path = tmp_path / "v.gguf"
    path.write_bytes(built(data=bytes(32) + DATA[:32]))
    assert [one.layer for one in read_control_vector(path)] == [2]
    path.write_bytes(built(data=bytes(64)))
    with pytest.raises(DataError, match="are zero"):
        read_control_vector(path)


def test_what_stands_before_a_block_is_the_output_of_the_one_before(tmp_path):
    held = Direction.from_vector(VECTORS[1], site="blocks.4.hook_resid_pre")
    path = write_control_vector([held], tmp_path / "v.gguf")
    assert [one.site for one in read_control_vector(path)] == ["resid_post.3"]


def at(*sites, **facts):
    return [Direction(unit=np.eye(4)[0], site=site, **facts) for site in sites]


@pytest.mark.parametrize(
    ("given_directions", "error", "words"),
    [
        ([], ConfigError, "No direction was given"),
        (at("resid_post.0"), ConfigError, "'resid_post.0'.*refuses.*'direction.0'"),
        (at("resid_pre.1"), ConfigError, "'resid_pre.1'.*second block"),
        (at("resid_pre.0"), ConfigError, "'resid_pre.0'"),
        (at("mlp_out.3"), ConfigError, "'mlp_out.3'"),
        (at(""), ConfigError, "'no site'.*dataclasses.replace"),
        (at("final_norm"), ConfigError, "'final_norm'"),
        (at("resid_post.2", "resid_pre.3"), ConfigError, "Two directions of layer 2"),
        (
            [*at("resid_post.2"), *directions()[:1]],
            ShapeError,
            r"\[4, 48\] dimensions",
        ),
        (
            [*at("resid_post.2", model="a"), *at("resid_post.3", model="b")],
            IncompatibleError,
            r"\['a', 'b'\]",
        ),
    ],
)
def test_what_no_control_vector_can_hold_is_refused(
    tmp_path, given_directions, error, words
):
    with pytest.raises(error, match=words):
        write_control_vector(given_directions, tmp_path / "v.gguf")
    assert not list(tmp_path.iterdir())


def test_without_the_package_writing_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "gguf", None)
    with pytest.raises(ConfigError, match=r"pip install 'interp\[gguf\]'"):
        write_control_vector(directions(), tmp_path / "v.gguf")
    assert not list(tmp_path.iterdir())


HUGE = 2**63
BROKEN = {
    "empty": (b"", "the file ends in the header, in the magic"),
    "magic": (built(magic=b"GGML"), "begins with b'GGML'"),
    "version": (built(version=1), "version is 1, and"),
    "big-endian": (built(version=3 << 24), "big-endian"),
    "cut in the header": (built()[:60], "file ends in the header"),
    "cut in the data": (built()[:-40], "direction.2 is said to have 16 bytes"),
    "no facts": (built(facts=()), "architecture is None"),
    "a model": (
        built(facts=(fact("general.architecture", 8, text("llama")),)),
        "architecture is 'llama'",
    ),
    "fact twice": (built(facts=(*FACTS, FACTS[0])), "'general.architecture' twice"),
    "unknown type": (built(facts=(*FACTS, fact("x", 99, b""))), "unknown type 99"),
    "huge text": (
        built(facts=(*FACTS, fact("x", 8, struct.pack("<Q", HUGE)))),
        "file ends in the header",
    ),
    "huge array": (
        built(facts=(*FACTS, fact("x", 9, struct.pack("<IQ", 10, HUGE)))),
        "file ends in the header, in an array",
    ),
    "nested array": (
        built(facts=(*FACTS, fact("x", 9, struct.pack("<IQ", 9, 1)))),
        "array of the type 9",
    ),
    "no text": (
        built(facts=(*FACTS, fact("x", 8, struct.pack("<Q", 2) + b"\xff\xfe"))),
        "is no text",
    ),
    "huge count of facts": (built(counts=(2, HUGE)), "in the header"),
    "huge count of tensors": (built(counts=(HUGE, 3)), "in the header"),
    "alignment": (
        built(facts=(*FACTS, fact("general.alignment", 4, struct.pack("<I", 48)))),
        "alignment is 48",
    ),
    "huge alignment": (
        built(facts=(*FACTS, fact("general.alignment", 4, struct.pack("<I", 2**31)))),
        "alignment is 2147483648",
    ),
    "twice": (built(entries=(ENTRIES[0], ENTRIES[0])), "direction.1 twice"),
    "one layer spelled twice": (
        built(entries=(ENTRIES[0], entry("direction.01", offset=32))),
        "direction.1 twice",
    ),
    "no layer": (built(entries=(entry("direction.one"),)), "names no layer"),
    "no direction": (built(entries=(entry("weight"),)), "no tensor 'direction.1'"),
    "quantised": (
        built(entries=(entry("direction.1", kind=8),)),
        "neither F32 nor F16",
    ),
    "absurd axis": (
        built(entries=(entry("direction.1", shape=(HUGE,)),)),
        "is said to have",
    ),
    "matrix": (built(entries=(entry("direction.1", shape=(2, 2)),)), "no vector has"),
    "no axis": (built(entries=(entry("direction.1", shape=()),)), "no vector has"),
    "empty tensor": (built(entries=(entry("direction.1", shape=(0,)),)), "no vector"),
    "many axes": (built(entries=(entry("direction.1", shape=(1,) * 9),)), "9 axes"),
    "outside": (built(entries=(entry("direction.1", offset=HUGE),)), "is said to have"),
    "unaligned": (built(entries=(entry("direction.1", offset=4),)), "is said to have"),
    "same bytes": (
        built(entries=[entry(f"direction.{n}", shape=(8,)) for n in range(1, 9)]),
        "is said to have",
    ),
    "other width": (
        built(entries=(ENTRIES[0], entry("direction.2", shape=(3,), offset=32))),
        "direction.2 has 3 dimensions, and others 4",
    ),
    "not finite": (
        built(data=np.full(16, np.nan, "<f4").tobytes()),
        "direction.1 has values that are not finite",
    ),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_hostile_file_is_refused_in_one_line(tmp_path, how):
    content, words = BROKEN[how]
    path = tmp_path / "evil.gguf"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"evil\.gguf.*cannot be read") as caught:
        read_control_vector(path)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_file_is_refused(tmp_path):
    with pytest.raises(DataError, match="There is no file"):
        read_control_vector(tmp_path / "absent.gguf")
    with pytest.raises(DataError, match="cannot be read"):
        read_control_vector(tmp_path)


def test_claims_of_a_header_cost_neither_memory_nor_time(tmp_path):
    # Sparse files of 1 GiB, and a small one, whose headers claim what is not there.
    claims = (
        built(facts=(*FACTS, fact("x", 8, struct.pack("<Q", 2**29)))),
        built(counts=(HUGE, 3)),
        built(entries=[entry(f"direction.{n}", shape=(2**26,)) for n in range(1, 99)]),
    )
    path = tmp_path / "large.gguf"
    for claim in claims[:2]:
        with path.open("wb") as file:
            file.write(claim)
            file.truncate(2**30)
        tracemalloc.start()
        began = time.perf_counter()
        with pytest.raises(DataError):
            read_control_vector(path)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 64 * 2**20
        assert time.perf_counter() - began < 5
    path.write_bytes(claims[2])
    with pytest.raises(DataError, match="is said to have"):
        read_control_vector(path)


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(
    changes=st.lists(
        st.tuples(st.integers(0, len(built()) - 1), st.integers(0, 255)), max_size=6
    ),
    cut=st.integers(0, len(built())),
)
def test_no_bytes_make_it_fail_otherwise(tmp_path_factory, changes, cut):
    content = bytearray(built())
    for place, byte in changes:
        content[place] = byte
    path = tmp_path_factory.getbasetemp() / "fuzz.gguf"
    path.write_bytes(content[: cut or None])
    try:
        found = read_control_vector(path)
    except InterpError:
        return
    assert all(one.site.startswith("resid_post.") for one in found)
