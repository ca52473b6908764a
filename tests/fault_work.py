"""Small real work for trials with faults: what is run, what counts, what is compared.

Each piece of work resumes in its folder. `taken` names the files that the toolkit would
take for finished at this moment: what they hold must then be what an undisturbed run
gives. `content` is compared at the end, without when and by which command it was made.
"""

import json
import os
import re
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tiny import tiny_model, tiny_tokenizer
from transformers.utils import logging as transformers_logging

from interp.errors import InterpError, StoreError
from interp.sharding import OthersMissingError


CHECKPOINTS, PROMPTS, FACTS = 4, 24, 40
ROWS_PER_SHARD = 2
FORMATION_STEPS, ORGANISM_STEPS = 24, 4
LONGEST = 1024
_NO_CONTENT = {"provenance.json", "events.jsonl"}
_ORIGIN = re.compile(rb"<summary>What produced it</summary>.*?</details>", re.DOTALL)
_STEP = re.compile(r"step-\d{8}/")
Content = dict[str, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A piece of work that resumes in its folder.

    Attributes:
        name: What it is called.
        run: Does it, or what is missing, in a folder; returns the exit code.
        taken: Files that would be taken for finished now, relative to the folder.
        shards: Runs it as shard i of n; None if it cannot be shared.
    """

    name: str
    run: Callable[[Path], int]
    taken: Callable[[Path], Sequence[str]]
    shards: Callable[[Path, str], int] | None = None


def content(out: Path) -> Content:
    """The bytes of all files that count, without times and the folder's own path."""
    found: Content = {}
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out)
        hidden = any(part.startswith(".") for part in name.parts)
        counts = path.name not in _NO_CONTENT and path.suffix != ".lock"
        if counts and not hidden and path.is_file():
            found[name.as_posix()] = comparable(path, out)
    return found


def final(found: Content) -> Content:
    """What the end of the work decides alone.

    A stop writes a checkpoint where it was: only the last step is always there.
    """
    last = max((name for name in found if _STEP.match(name)), default="")
    step = last.split("/", maxsplit=1)[0]
    return {
        name: data
        for name, data in found.items()
        if not _STEP.match(name) or name.startswith(step)
    }


def wrongly_taken(out: Path, taken: Sequence[str], reference: Content) -> list[str]:
    """Files that would be taken for finished and hold something else."""
    return [
        name
        for name in taken
        if Path(name).name not in _NO_CONTENT
        # A stop between two of the usual checkpoints has no other to compare with.
        and not (_STEP.match(name) and name not in reference)
        and comparable(out / name, out) != reference.get(name)
    ]


def comparable(path: Path, out: Path) -> bytes:
    """The bytes of a file without when and where it was made."""
    data = path.read_bytes()
    if path.name == "result.json":
        description = json.loads(data)
        description["values"].pop("provenance", None)
        data = json.dumps(description, sort_keys=True).encode()
    if path.suffix == ".safetensors":
        # The order of entries in a header is drawn anew in every process.
        length = 8 + int.from_bytes(data[:8], "little")
        header = json.dumps(json.loads(data[8:length]), sort_keys=True)
        data = header.encode() + data[length:]
    if path.suffix == ".html":
        data = _ORIGIN.sub(b"", data)
    return data.replace(str(out).encode(), b"OUT")


def strays(out: Path) -> list[str]:
    """Unfinished files and folders that were left behind."""
    hidden = (path for path in out.rglob(".*") if path.suffix in (".part", ".old"))
    return sorted(path.relative_to(out).as_posix() for path in hidden)


def prepare(base: Path) -> None:
    """Write the inputs of all works: models, a series, prompts, statements, settings.

    Args:
        base: An empty folder; what is written lies in its folder `inputs`.
    """
    transformers_logging.disable_progress_bar()
    inputs = base / "inputs"
    for name, seed in (("base", 0), ("post", 1)):
        _save_model(inputs / name, seed)
    for step in range(CHECKPOINTS):
        _save_model(inputs / "series" / f"step-{step * 10}", step)
    prompts = (f"the city {' of' * (i % 5)} Paris" for i in range(PROMPTS))
    (inputs / "prompts.csv").write_text("prompt\n" + "\n".join(prompts) + "\n")
    lines = ["statement,label,subject,object,correct_object"]
    places = ("Ra", "Do", "Mi")
    for i in range(FACTS):
        name = chr(65 + i % 26) + chr(97 + i // 26)
        right = places[i % len(places)]
        for label, place in ((1, right), (0, places[(i + 1) % len(places)])):
            lines.append(
                f"The city of {name} is in {place}.,{label},{name},{place},{right}"
            )
    (inputs / "cities.csv").write_text("\n".join(lines) + "\n")
    for study, settings in _settings().items():
        text = (
            f'base = "{inputs / "base"}"\npost = "{inputs / "post"}"\n'
            f'statements = ["{inputs / "cities.csv"}"]\n' + settings
        )
        (inputs / f"{study}.toml").write_text(text)


def works(base: Path) -> dict[str, Work]:
    """The works on the inputs that `prepare` wrote, by name."""
    inputs = base / "inputs"
    capture = ["capture", str(inputs / "base"), str(inputs / "prompts.csv")]
    capture += ["--rows-per-shard", str(ROWS_PER_SHARD)]
    track = ["track", str(inputs / "series"), "--metrics", "prefix_matching,loss"]
    track += ["--n-sequences", "2", "--n-tokens", "16"]
    knowledge = ["study", "knowledge", str(inputs / "knowledge.toml")]
    truth = ["study", "truthfulness", str(inputs / "truthfulness.toml")]
    every = (
        _command("capture", capture, _taken_of_store),
        _command("track", track, _taken_of_runs),
        _command("knowledge", knowledge, _taken_of_runs),
        _command("truthfulness", truth, _taken_of_runs, shared=False),
        Work(name="formation", run=_formation, taken=_taken_of_formation),
        Work(name="organism", run=_organism, taken=_taken_of_family),
    )
    return {work.name: work for work in every}


def coded(work: Callable[[], object]) -> int:
    """The exit code that the command line would give for what happens inside."""
    try:
        work()
    except OthersMissingError:
        return 0
    except InterpError as error:
        sys.stderr.write(f"interp: error: {error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except Exception:
        traceback.print_exc()
        return 1
    return 0


def _command(
    name: str,
    words: Sequence[str],
    taken: Callable[[Path], Sequence[str]],
    *,
    shared: bool = True,
) -> Work:
    from probes.cli.run import run

    def whole(out: Path) -> int:
        return run([*words, "--out", str(out)])

    def shard(out: Path, share: str) -> int:
        return run([*words, "--out", str(out), "--shard", share])

    return Work(name=name, run=whole, taken=taken, shards=shard if shared else None)


def _formation(out: Path) -> int:
    return coded(lambda: _train_formation(out))


def _train_formation(out: Path) -> None:
    from interp import formation

    task = formation.RepeatedTokens(vocabulary=12, length=14, shortest=3, longest=6)
    experiment = formation.Experiment(
        network=formation.NetworkConfig(
            symbols=12, outputs=12, d_model=8, symbol_std=0.5
        ),
        task=task,
        training=formation.TrainingConfig(
            steps=FORMATION_STEPS,
            batch=4,
            warm_up=3,
            evaluate_every=4,
            evaluate_on=8,
            checkpoint_every=4,
        ),
        seeds=(0, 1, 2),
        evaluations=(
            formation.Evaluation(task=task, measure=formation.measure_repeats),
        ),
    )
    formation.train(experiment, out=out)


def _organism(out: Path) -> int:
    os.environ["INTERP_HOME"] = str(out)
    return coded(_train_organism)


def _train_organism() -> None:
    """The trainer and the cache of the families, but for the checks of its promises.

    A few steps keep no promise, and hundreds take half a minute.
    """
    from interp.organism import cache
    from interp.organism.family import Family, save_model, write_description
    from interp.organism.induction import induction_tokenizer, train_induction
    from interp.organism.network import Shape
    from interp.organism.recipes import InductionRecipe
    from interp.progress import SilentProgress

    recipe = InductionRecipe(
        shape=Shape(n_layers=1, d_model=16, n_heads=2, d_mlp=16),
        steps=ORGANISM_STEPS,
        rows=4,
        checkpoint_every=2,
    )

    def make(folder: Path) -> None:
        tokenizer = induction_tokenizer()
        checkpoints = folder / "checkpoints"
        model = train_induction(
            recipe, tokenizer, seed=0, checkpoints=checkpoints, bar=SilentProgress()
        )
        save_model(model, tokenizer, folder / "base")
        family = Family(
            folder=folder, name="induction", seed=0, spec="tiny", checks=(), notes=()
        )
        write_description(family, {})

    cache.cached("induction", "tiny", make)


def _taken_of_store(out: Path) -> Sequence[str]:
    from interp.store import open as open_store

    try:
        open_store(out, verify=True)
    except StoreError:
        return ()
    return [*content(out)]


def _taken_of_runs(out: Path) -> Sequence[str]:
    from interp.results import find, load

    if not out.is_dir():
        return ()
    taken: list[str] = []
    for run in find(out):
        if run.state == "unfinished":
            continue
        # One that passed checkpoints over says so, and is measured again.
        if not getattr(load(run.path), "failed", ()):
            taken += [
                path.relative_to(out).as_posix()
                for path in (run.path / "result").iterdir()
            ]
    return taken


def _taken_of_formation(out: Path) -> Sequence[str]:
    return [
        path.relative_to(out).as_posix()
        for path in out.glob("step-*/*")
        if out.is_dir()
    ]


def _taken_of_family(out: Path) -> Sequence[str]:
    from interp.errors import DataError
    from interp.organism.family import read_family

    place = out / "organism" / "induction-tiny"
    try:
        read_family(place)
    except DataError:
        return ()
    return [
        path.relative_to(out).as_posix() for path in place.rglob("*") if path.is_file()
    ]


def _settings() -> dict[str, str]:
    return {
        "knowledge": "n_pairs = 40\nresamples = 20\npermutations = 5\n",
        "truthfulness": (
            "permutations = 2\nresamples = 10\nasked_validation = 4\nasked_test = 4\n"
            "controls = 1\ndoses = [0.5]\ndose_statements = 4\nlayers = [0, 1]\n"
            'probes = ["mean_difference", "lda"]\ntokens = "final two tokens"\n'
            "fractions = [0.5, 0.2, 0.3]\n"
        ),
    }


def _save_model(folder: Path, seed: int) -> None:
    tiny_model("llama", seed, max_position_embeddings=LONGEST).save_pretrained(folder)
    tokenizer = tiny_tokenizer()
    tokenizer.model_max_length = LONGEST
    tokenizer.save_pretrained(folder)
