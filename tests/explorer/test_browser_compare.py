"""Compare and Directions in a real browser: links, switches, downloads, names."""

from dataclasses import replace
from urllib.parse import quote

import numpy as np
import pytest
from browser_session import NO_CHROMIUM, Seen, chromium, serving, visit
from sample_results import provenance, truthfulness

from interp.directions import Direction, save
from interp.interchange import read_vector
from interp.provenance import ModelRecord


pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("explorer"), NO_CHROMIUM]
HOSTILE = '<img src=x onerror="window.hacked=1"> ![x](http://outside.invalid/a.png)'


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Three results, one of another seed and one hostile, and two directions."""
    root = tmp_path_factory.mktemp("compared")
    truthfulness().save(root / "a")
    other = ModelRecord(**{**_facts(), "name": HOSTILE})
    origin = replace(provenance(), models=(other, provenance().models[1]))
    replace(truthfulness(seed=1), provenance=origin).save(root / "<b> ![x](y)")
    replace(truthfulness(), provenance=replace(provenance(), seed=5)).save(root / "c")
    for seed, name in enumerate(("up", "![x](y) <i>")):
        vector = np.random.default_rng(seed).normal(size=16)
        found = Direction.from_vector(vector, site="resid_post.3")
        save(replace(found, model="m", rule=HOSTILE), root / f"{name}.safetensors")
    return root


def _facts() -> dict[str, str]:
    model = provenance().models[0]
    names = ("revision", "weights_hash", "tokenizer_hash", "dtype", "attention")
    return {name: getattr(model, name) for name in names}


def test_compare_and_directions(results, tmp_path):
    bad = "<b> ![x](y)"
    with serving(results) as base, chromium() as browser:
        page = browser.new_page(color_scheme="dark")
        seen = Seen(base=base)
        seen.watch(page)
        # A link opens two results, three figures, and no image of anybody's.
        visit(page, f"{base}/compare?x_a=a&x_b={quote(bad)}")
        plots = page.locator(".js-plotly-plot .main-svg")
        plots.first.wait_for()
        assert page.locator(".js-plotly-plot").count() == 3
        assert page.get_by_role("combobox", name="Second").input_value() == bad
        # Refused with the field, and shown to who insists, which the address keeps.
        visit(page, f"{base}/compare?x_a=a&x_b=c")
        page.get_by_text("they differ in seed").wait_for()
        assert page.locator(".js-plotly-plot").count() == 0
        page.get_by_text("Look anyway").click()
        page.get_by_text("Not a fair comparison").wait_for()
        page.wait_for_url("**x_anyway=true**")
        plots.first.wait_for()
        # A direction goes out as a file that reads back.
        visit(page, f"{base}/directions?d_one=up.safetensors")
        plots.first.wait_for()
        with page.expect_download() as download:
            page.get_by_role("button", name="Neuronpedia JSON").click()
        path = tmp_path / "v.json"
        download.value.save_as(path)
        expected = np.random.default_rng(0).normal(size=16)
        np.testing.assert_allclose(read_vector(path).vector, expected, rtol=1e-5)
        # The button of a study's figure saves it as SVG.
        visit(page, f"{base}/truthfulness?t_run=a")
        plots.first.wait_for()
        page.get_by_text("Numbers, downloads, Python").first.click()
        button = page.get_by_role("button", name="Figure as SVG")
        button.wait_for()
        with page.expect_download() as download:
            button.click()
        download.value.save_as(tmp_path / "f.svg")
        assert (tmp_path / "f.svg").read_text().startswith("<svg")
        # Cards have their lines, and nothing of hostile names has run.
        visit(page, base)
        page.locator("img[alt='AUROC by layer']").first.wait_for()
        assert page.locator("img[src='x'], a[href^=javascript]").count() == 0
        assert page.evaluate("typeof window.hacked") == "undefined"
        assert page.get_by_test_id("stException").count() == 0
        assert (seen.outside, seen.errors) == ([], [])
