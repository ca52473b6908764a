"""A folder of results of every page, and pages run against it without a browser."""

import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from browser_session import chromium, serving, watched
from knowledge_samples import knowledge
from map_samples import save_all, save_hostile
from sample_results import provenance, refusal, truthfulness
from steered_samples import steered
from streamlit.testing.v1 import AppTest
from timeline_samples import timeline

from interp.provenance import ModelRecord
from interp.results import HeadScores, NeuronTable, Result, open_run


APP = Path(__file__).parents[2] / "apps" / "interp_explorer" / "app.py"
MARKUP = (
    '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>'
    "![x](http://outside.invalid/a.png) [y](javascript:window.hacked=1) $x$ :red[z]"
)
Open = Callable[..., AppTest]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    study: str
    seed: int = 0


def neurons() -> NeuronTable:
    rng = np.random.default_rng(0)
    norm = rng.uniform(0.2, 1, 64).astype(np.float32)
    variance = rng.uniform(0.001, 0.01, 64).astype(np.float32)
    return NeuronTable(
        model="owner/base",
        layer=3,
        final_norm="RMSNorm",
        norm=norm,
        logit_var=variance,
        null_fraction=rng.uniform(0, 1, 64).astype(np.float32),
        null_directions=4,
        singular_values=np.linspace(9, 0.1, 16).astype(np.float32),
        percentile=75.0,
        candidates=np.array([3, 5], dtype=np.int32),
        notes=(),
        provenance=provenance("neurons"),
    )


def heads() -> HeadScores:
    rng = np.random.default_rng(0)
    samples = rng.uniform(0, 1, (1, 2, 4, 5)).astype(np.float32)
    mean = samples.mean(-1)
    return HeadScores(
        metrics=("prefix_matching",),
        mean=mean,
        low=mean - np.float32(0.1),
        high=mean + np.float32(0.1),
        samples=samples,
        uniform=np.full((1, 5), 0.1, dtype=np.float32),
        loss=rng.uniform(1, 5, (5, 20)).astype(np.float32),
        correct=np.ones((5, 20), dtype=np.float32),
        periods=np.full(5, 10, dtype=np.int32),
        has_bos=False,
        notes=(),
        provenance=provenance("heads"),
    )


def add_run(folder: Path, result: Result | None, *, study: str, seed: int = 0) -> Path:
    run = open_run(
        folder,
        study=study,
        models=["owner/base", "owner/post"],
        spec=Settings(study=study, seed=seed),
        provenance=provenance(study),
    )
    if result is not None:
        run.finish(result)
    return run.path


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    """Results of every page, and a run that is not finished."""
    root = tmp_path_factory.mktemp("explored")
    made: dict[str, Result] = {
        "truthfulness": truthfulness(),
        "refusal": refusal(),
        "knowledge": knowledge(),
        "track": timeline(),
    }
    for study, result in made.items():
        add_run(root, result, study=study)
    add_run(root, None, study="truthfulness", seed=1)
    neurons().save(root / "neurons")
    heads().save(root / "heads")
    return root


@pytest.fixture(scope="session")
def hostile_folder(tmp_path_factory) -> Path:
    """Results whose every text tries to be more than a text."""
    root = tmp_path_factory.mktemp("hostile")
    origin = replace(
        provenance(),
        study=MARKUP,
        models=(ModelRecord(name=MARKUP), ModelRecord(name=MARKUP + "2")),
        command=MARKUP,
    )
    true = truthfulness()
    true = replace(
        true,
        models=(MARKUP, MARKUP + "2"),
        statements=(MARKUP,) * len(true.statements),
        notes=(MARKUP,),
        provenance=origin,
    )
    refused = refusal()
    texts = tuple(
        replace(row, prompt=MARKUP, completion=MARKUP) for row in refused.completions
    )
    refused = replace(
        refused,
        models=(MARKUP, MARKUP + "2"),
        completions=texts,
        notes=(MARKUP,),
        provenance=origin,
    )
    true.save(root / "<img src=x onerror=window.hacked=1>")
    refused.save(root / "![x](outside.invalid) $x$ `a`")
    return root


@pytest.fixture(scope="session")
def everything(folder, hostile_folder, tmp_path_factory) -> Path:
    """What all browsers look at: harmless and hostile results of every page.

    `a` and `seed 5` differ in their seed, and `<b> ![x](y)` in no more than a name.
    """
    # Imported here: it brings torch, which no other page needs.
    from interp.directions import Direction, Probe, save

    root = tmp_path_factory.mktemp("everything")
    for source in (folder, hostile_folder):
        shutil.copytree(source, root, dirs_exist_ok=True)
    save_all(root / "maps")
    save_hostile(root / "hostile", MARKUP)
    steered(word=MARKUP).save(root / "hostile" / "texts")
    truthfulness().save(root / "a")
    refusal().save(root / "refused")
    first, second = provenance().models
    renamed = replace(provenance(), models=(replace(first, name=MARKUP), second))
    replace(truthfulness(seed=1), provenance=renamed).save(root / "<b> ![x](y)")
    reseeded = replace(provenance(), seed=5)
    replace(truthfulness(), provenance=reseeded).save(root / "seed 5")
    for seed, name in enumerate(("up", "![x](y) <i>")):
        vector = np.random.default_rng(seed).normal(size=16)
        found = Direction.from_vector(vector, site="resid_post.3")
        save(replace(found, model="m", rule=MARKUP), root / f"{name}.safetensors")
    weights = np.ones(16, dtype=np.float32)
    probe = Probe(weights=weights, kind=MARKUP, rule=MARKUP, data=MARKUP)
    save(replace(probe, site="resid_post.3"), root / "<b>![x](y).safetensors")
    return root


@pytest.fixture(scope="session")
def base(everything) -> Iterator[str]:
    """The address of one explorer of all these results."""
    with serving(everything) as address:
        yield address


@pytest.fixture(scope="module")
def context() -> Iterator:
    """A browser whose tabs share a cache."""
    with chromium() as browser:
        yield browser.new_context()


@pytest.fixture
def page(context, base) -> Iterator:
    """A tab of it, which must not complain or ask for anything outside."""
    with watched(context, base) as tab:
        yield tab


@pytest.fixture(scope="session")
def examples(facts_family):
    """What the embedded model was trained for."""
    from interp_explorer.lab.embedded import examples_of

    return examples_of(facts_family.folder)


@pytest.fixture(scope="session")
def model(facts_family):
    """The embedded POST model."""
    import interp

    return interp.load(facts_family.post)


@pytest.fixture(scope="session")
def fitted(model, examples):
    """The directions that the Lab fits where none are saved."""
    from interp_explorer.lab.embedded import embedded_directions

    return embedded_directions(model, examples)


@pytest.fixture
def results(tmp_path) -> Path:
    """A folder with one result."""
    truthfulness().save(tmp_path / "r")
    return tmp_path


@pytest.fixture
def open_lab(monkeypatch, facts_family, results) -> Open:
    """The Lab on that folder, with parameters in its address."""

    def opener(*, options=(f"--model={facts_family.post}",), **parameters) -> AppTest:
        monkeypatch.setattr(sys, "argv", [str(APP), str(results), *options])
        if "s" not in parameters:
            # Few tokens say as much, sooner.
            parameters = {"l_length": "8", **parameters}
        app = AppTest.from_file(str(APP), default_timeout=120)
        app.switch_page("views/lab.py")
        for name, value in parameters.items():
            app.query_params[name] = value
        return app.run()

    return opener


@pytest.fixture
def open_page(monkeypatch) -> Open:
    """A page of a folder, run in this process, with parameters in its address."""

    def opener(root: Path, view: str = "", **parameters: str) -> AppTest:
        monkeypatch.setattr(sys, "argv", [str(APP), str(root)])
        app = AppTest.from_file(str(APP), default_timeout=60)
        if view:
            app.switch_page(f"views/{view}.py")
        for name, value in parameters.items():
            app.query_params[name] = value
        return app.run()

    return opener
