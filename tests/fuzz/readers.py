"""Every reader of files that may come from others, with a whole file for each."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sample_results import provenance, truthfulness
from store.samples import filled, sample_spec, shard_file
from tiny import saved_tiny_model

import interp.store
from interp.config import read_spec, to_toml
from interp.data import instructions, prompts, statements
from interp.directions import Direction, Eraser, Subspace
from interp.errors import InterpError
from interp.formation import checkpoints
from interp.heads.metrics import Measured
from interp.heads.series import CheckpointRef
from interp.heads.track_patterns import KeptPatterns, ShownSequence
from interp.heads.track_shards import Shards as TrackShards
from interp.interchange import read_vector, write_vector
from interp.models.checkpoint import inspect_folder
from interp.models.hub import _holds
from interp.neurons.tensors import _files
from interp.organism.family import read_family
from interp.organism.table import read_facts
from interp.patching.group_grid import GroupGrid
from interp.patching.shards import Shards as PatchShards
from interp.results import find, load, open_run
from interp_explorer.catalog import catalog, settings_of
from interp_explorer.lab.embedded import examples_of
from interp_explorer.lab.models import _is_family
from interp_explorer.lab.settings import LabSettings
from interp_explorer.lab.shares import share, shared
from probes.studies.truthfulness.spec import TruthfulnessSpec


@dataclass(frozen=True, kw_only=True)
class Reader:
    """A way to read a file, and how a whole one is made.

    Attributes:
        make: Writes it, and what it needs beside it, into a new folder; the file.
        read: Reads it. An `InterpError` is a right answer.
        signed: Brings the checksums up to date, which an attacker can do as well.
    """

    make: Callable[[Path], Path]
    read: Callable[[Path], object]
    signed: Callable[[Path], object] = lambda path: None


ROWS = [
    {
        "statement": f"City {i} is in land {i % 3}.",
        "label": i % 2,
        "subject": f"City {i}",
    }
    for i in range(12)
]
SPEC = TruthfulnessSpec(base="a", post="b", statements=("x.csv",))


def _table(name: str, folder: Path) -> Path:
    path, frame = folder / name, pd.DataFrame(ROWS)
    match path.suffix:
        case ".csv":
            frame.to_csv(path, index=False)
        case ".tsv":
            frame.to_csv(path, index=False, sep="\t")
        case ".json":
            frame.to_json(path, orient="records")
        case ".jsonl":
            frame.to_json(path, orient="records", lines=True)
        case ".parquet":
            frame.to_parquet(path)
        case _:
            path.write_text("\n".join(frame["statement"]))
    return path


def _read_table(path: Path) -> object:
    # Each is tried, so that one that refuses does not hide the others.
    found: list[object] = []
    refused: list[InterpError] = []
    for read in (prompts, statements, partial(instructions, column="statement")):
        try:
            found.append(read(path))
        except InterpError as error:
            refused.append(error)
    if not found:
        raise refused[0]
    return found


def _facts(folder: Path) -> Path:
    path = folder / "facts.csv"
    rows = [{"subject": f"S {i}", "object": f"O{i % 3}"} for i in range(9)]
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


def _saved(value: Direction | Subspace | Eraser, folder: Path) -> Path:
    return interp.directions.save(value, folder / "d.safetensors")


UP = Direction.from_vector(np.array([0.0, 4.0, 3.0]), site="resid_post.3")
PLANE = Subspace(basis=np.eye(3)[:2], site="resid_post.3", rule="x")
ERASER = Eraser(
    left=np.eye(3)[:, :1], right=np.eye(3)[:1], mean=np.zeros(3), method="leace"
)


def _result(name: str, folder: Path) -> Path:
    truthfulness(n_layers=2).save(folder / "r")
    return folder / "r" / name


def _sign_result(path: Path) -> None:
    place = path.with_name("result.json")
    if path == place:
        return
    description = json.loads(place.read_bytes())
    description["files"][path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    place.write_text(json.dumps(description))


def _run(name: str, folder: Path) -> Path:
    run = open_run(
        folder,
        study="truthfulness",
        models=["a", "b"],
        spec=SPEC,
        provenance=provenance(),
    )
    run.finish(truthfulness(n_layers=2))
    return run.path / name


def _read_run(path: Path) -> object:
    # <folder>/truthfulness/<models>/<hash>/<file>, or result/<file> in it.
    root = path
    while root.name != "truthfulness":
        root = root.parent
    found = catalog(root.parent)
    listed = find(root.parent)
    return listed, [settings_of(entry, root.parent) for entry in found.entries]


def _store(name: str, folder: Path) -> Path:
    made = filled(folder / "s", sample_spec(n=12, rows_per_shard=6))
    return shard_file(made, 1) if name == "shard" else made / name


def _read_store(path: Path) -> object:
    folder = next(one for one in path.parents if (one / "shards").is_dir())
    opened = interp.store.open(folder, verify=True)
    return opened.rows, opened["resid_post.0"][:]


def _read_store_quickly(path: Path) -> object:
    folder = next(one for one in path.parents if (one / "shards").is_dir())
    opened = interp.store.open(folder)
    return opened.rows, opened["resid_post.*"][:4]


def _checkpoint(name: str, folder: Path) -> Path:
    path = saved_tiny_model(folder, "llama", num_hidden_layers=1)
    if name == "model.safetensors.index.json":
        (path / "model.safetensors").rename(path / "model-1.safetensors")
        with interp_open(path / "model-1.safetensors") as opened:
            places = dict.fromkeys(opened.keys(), "model-1.safetensors")
        (path / name).write_text(json.dumps({"weight_map": places}))
    return path / name


def interp_open(path: Path):
    from safetensors import safe_open

    return safe_open(path, framework="numpy")


def _read_checkpoint(path: Path) -> object:
    inspect_folder(path.parent, "it")
    return _files(path.parent), _holds(path.parent, None)


def _family(folder: Path) -> Path:
    record = {
        "family": "facts",
        "seed": 0,
        "spec": "abc",
        "checks": [],
        "notes": ["one"],
    }
    (folder / "post").mkdir()
    (folder / "post" / "config.json").write_text("{}")
    (folder / "family.json").write_text(json.dumps(record))
    return folder / "family.json"


def _harmless(folder: Path) -> Path:
    _table("statements.csv", folder)
    rows = [{"instruction": f"Do {i}."} for i in range(3)]
    for name in ("harmful.json", "harmless.json"):
        (folder / name).write_text(json.dumps(rows))
    return folder / "harmless.json"


def _share(folder: Path) -> Path:
    settings = LabSettings(prompt="The city", readers=("a", "b"), direction="a")
    return folder / "shares" / f"{share(settings, folder)}.json"


def _read_share(path: Path) -> object:
    content = path.read_bytes()
    name = hashlib.sha256(content).hexdigest()[:32]
    path.with_name(f"{name}.json").write_bytes(content)
    return shared(name, path.parents[1])


REF = CheckpointRef(name="step3", step=3, tokens=1.0)


def _measured(folder: Path) -> Path:
    one = np.ones(4, np.float32)
    measured = Measured(
        values={"loss": one},
        heads={"h": np.ones((1, 2, 4), np.float32)},
        vectors={"v": one},
        chance={"h": 0.5},
        patterns=KeptPatterns(
            shown=ShownSequence(
                heads=("L0H0",), ids=(5, 6), words=("a", "b"), start=0, period=1
            ),
            values=np.ones((1, 2, 2), np.float16),
        ),
    )
    TrackShards(folder).write(REF, measured)
    return next(folder.glob("*.safetensors"))


def _patched(folder: Path) -> Path:
    one = np.ones(2, np.float32)
    grid = GroupGrid(
        ld=np.ones((1, 2, 3, 4), np.float32), base_ld=one, other_ld=one, token_layers=5
    )
    PatchShards(folder, "key").write(0, grid)
    return next(folder.glob("*.safetensors"))


def _training(name: str, folder: Path) -> Path:
    state = checkpoints.State(
        step=4,
        flat=torch.ones(2, 3),
        first=torch.ones(2, 3),
        second=torch.ones(2, 3),
        generators=[torch.Generator(), torch.Generator()],
        steps=[0, 4],
        curves={"loss": [torch.ones(2), torch.ones(2)]},
    )
    checkpoints.write(folder, "mine", state)
    return next(folder.glob("step-*")) / name


def _read_training(path: Path) -> object:
    folder = path.parents[1]
    checkpoints.steps(folder, "mine")
    return checkpoints.read(folder, 4).latest()


def _spec(folder: Path) -> Path:
    path = folder / "spec.toml"
    path.write_text(to_toml(SPEC))
    return path


READERS: dict[str, Reader] = {
    **{
        name: Reader(make=partial(_table, name), read=_read_table)
        for name in ("t.csv", "t.tsv", "t.json", "t.jsonl", "t.parquet", "t.txt")
    },
    "facts.csv": Reader(make=_facts, read=read_facts),
    "spec.toml": Reader(make=_spec, read=lambda p: read_spec(p, TruthfulnessSpec)),
    "direction": Reader(make=partial(_saved, UP), read=interp.directions.load),
    "subspace": Reader(
        make=partial(_saved, PLANE), read=interp.directions.load_subspace
    ),
    "eraser": Reader(make=partial(_saved, ERASER), read=interp.directions.load_eraser),
    "vector.json": Reader(
        make=lambda folder: write_vector(UP, folder / "v.json", model_id="m"),
        read=read_vector,
    ),
    "result.json": Reader(
        make=partial(_result, "result.json"), read=lambda p: load(p.parent)
    ),
    "arrays.safetensors": Reader(
        make=partial(_result, "arrays.safetensors"),
        read=lambda p: load(p.parent),
        signed=_sign_result,
    ),
    "rows.parquet": Reader(
        make=partial(_result, "rows.parquet"),
        read=lambda p: load(p.parent),
        signed=_sign_result,
    ),
    **{
        f"run {name}": Reader(make=partial(_run, name), read=_read_run)
        for name in (
            *("events.jsonl", "provenance.json", "spec.toml"),
            "result/result.json",
        )
    },
    **{
        f"store {name}": Reader(make=partial(_store, name), read=read)
        for name, read in (
            ("manifest.json", _read_store),
            ("rows.parquet", _read_store_quickly),
            ("shard", _read_store_quickly),
        )
    },
    **{
        f"model {name}": Reader(make=partial(_checkpoint, name), read=_read_checkpoint)
        for name in (
            *("config.json", "model.safetensors", "model.safetensors.index.json"),
        )
    },
    "family.json": Reader(
        make=_family, read=lambda p: (_is_family(p.parent), read_family(p.parent))
    ),
    "harmless.json": Reader(make=_harmless, read=lambda p: examples_of(p.parent)),
    "share": Reader(make=_share, read=_read_share),
    "measured": Reader(make=_measured, read=lambda p: TrackShards(p.parent).read(REF)),
    "patched": Reader(
        make=_patched,
        read=lambda p: PatchShards(p.parent, "key").read(0, (1, 2, 3, 4)),
    ),
    **{
        f"training {name}": Reader(make=partial(_training, name), read=_read_training)
        for name in ("state.json", "state.safetensors")
    },
}
