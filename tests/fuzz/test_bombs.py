"""Small files that claim to be large: refused in bounded memory and time."""

import resource
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest


# Above what Python and the libraries take by themselves, far below what is claimed.
MEMORY = 3 << 30
# Of the processor, for all files of a process.
SECONDS = 30
READ = """
import resource, sys
from pathlib import Path
{imports}
from interp.errors import InterpError
resource.setrlimit(resource.RLIMIT_AS, ({memory}, {memory}))
resource.setrlimit(resource.RLIMIT_CPU, ({seconds}, {seconds}))
readers = {readers}
for name, path in zip(sys.argv[1::2], map(Path, sys.argv[2::2])):
    try:
        readers[name](path)
    except InterpError as error:
        assert "\\n" not in str(error)
        print("refused", path.name)
"""
# What is imported, and which reader of a path that gives; each process reads all files
# of its readers. The first does without torch, which takes seconds to import.
PROCESSES: tuple[dict[str, tuple[str, str]], ...] = (
    {
        "tables": ("from interp.data import prompts", "prompts"),
        "vectors": ("from interp.interchange import read_vector", "read_vector"),
        "results": ("import interp.results", "interp.results.load"),
        "specs": (
            "from interp.config import read_spec\n"
            "from probes.studies.truthfulness.spec import TruthfulnessSpec",
            "lambda path: read_spec(path, TruthfulnessSpec)",
        ),
    },
    {
        "tensors": ("import interp.directions", "interp.directions.load"),
        "models": (
            "from interp.models.checkpoint import inspect_folder",
            "lambda path: inspect_folder(path, 'it')",
        ),
        "stores": ("import interp.store", "lambda path: interp.store.open(path).rows"),
        "families": ("from interp.organism.family import read_family", "read_family"),
    },
)
DEEP = b"[" * 100_000
HUGE = (2**60).to_bytes(8, "little")
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + b"\0" * 200


def equal_rows(path: Path, *, n: int, text: str) -> None:
    column = pa.DictionaryArray.from_arrays(np.zeros(n, np.int32), [text])
    pq.write_table(pa.table({"text": column}), path)


def written(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_bytes(content)
    return path


def tables(folder: Path) -> list[Path]:
    made = partial(written, folder)
    equal_rows(folder / "many.parquet", n=30_000_000, text="a")
    equal_rows(folder / "long.parquet", n=20_000, text="a" * 100_000)
    whole = (folder / "long.parquet").read_bytes()
    return [
        folder / "many.parquet",
        folder / "long.parquet",
        made("lying.parquet", whole[:-12] + b"\xff" * 60 + whole[-8:]),
        made("cut.parquet", b"PAR1" + b"\xff\xff\xff\x7f" + b"PAR1"),
        made("image.csv", PNG),
        made("image.parquet", PNG),
        made("field.csv", b'text\n"' + (b"a" * 999_999 + b"\n") * 100),
        made("line.csv", b"text\n" + b"a" * 100_000_000),
        made("deep.json", DEEP),
        made("deep.jsonl", DEEP),
        made("number.json", b"[" + b"9" * 1_000_000 + b"]"),
    ]


def bombs(folder: Path) -> dict[str, list[Path]]:
    """Files for each reader of `PROCESSES`."""
    made = partial(written, folder)
    specs = [
        made("number.toml", b"seed = " + b"9" * 1_000_000),
        made("deep.toml", b"seed = " + DEEP),
        made("deep_keys.toml", b"a." * 50_000 + b"a = 1"),
    ]
    header = b'{"unit":{"dtype":"F32","shape":[1152921504606846976],'
    header += b'"data_offsets":[0,4611686018427387904]}}'
    tensors = [
        made("claims.safetensors", HUGE + b"{}"),
        made("shape.safetensors", len(header).to_bytes(8, "little") + header),
        made("deep.safetensors", len(DEEP).to_bytes(8, "little") + DEEP),
    ]
    vectors = [made("deep_vector.json", DEEP), made("n.json", b"9" * 100_000)]
    models = [folder / name for name in ("model_header", "model_index")]
    for place in models:
        made(f"{place.name}/config.json", b"{}")
    made("model_header/model.safetensors", HUGE + b"{}")
    made("model_index/model.safetensors.index.json", b'{"weight_map":' + DEEP)
    made("store/manifest.json", DEEP)
    made("result/result.json", DEEP)
    made("family/family.json", DEEP)
    return {
        "tables": tables(folder),
        "specs": specs,
        "tensors": tensors,
        "vectors": vectors,
        "models": models,
        "stores": [folder / "store"],
        "results": [folder / "result"],
        "families": [folder / "family"],
    }


@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are Linux's")
def test_claims_cost_neither_memory_nor_time(tmp_path):
    files = bombs(tmp_path)
    assert files.keys() == {name for readers in PROCESSES for name in readers}
    for readers in PROCESSES:
        paths = [(name, path) for name in readers for path in files[name]]
        code = READ.format(
            imports="\n".join(imports for imports, _ in readers.values()),
            memory=MEMORY,
            seconds=SECONDS,
            readers=f"{{{', '.join(f'{n!r}: {r}' for n, (_, r) in readers.items())}}}",
        )
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                code,
                *(str(word) for pair in paths for word in pair),
            ],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        refused = [line.split()[1] for line in done.stdout.splitlines()]
        assert refused == [path.name for _, path in paths], done.stderr[-2000:]
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss << 10
    assert peak < MEMORY
