"""Downloads of a figure: the numbers, a page that stands alone, Python that runs."""

import io

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal
from sample_results import truthfulness

from interp.figures import report_section
from interp.figures.export import csv_bytes, parquet_bytes, python_code
from interp_explorer.cache import Opened
from interp_explorer.catalog import catalog
from interp_explorer.widgets.chart import Drawn
from interp_explorer.widgets.downloads import figures_page


pytestmark = pytest.mark.xdist_group("explorer")


@pytest.fixture(scope="module")
def opened():
    result = truthfulness()
    return Opened(result=result, section=report_section(result))


def test_the_rows_come_back_from_csv_and_parquet(opened):
    for panel in opened.section.panels:
        if panel.rows is None:
            continue
        rows = panel.rows.reset_index(drop=True)
        assert_frame_equal(pd.read_parquet(io.BytesIO(parquet_bytes(rows))), rows)
        back = pd.read_csv(io.BytesIO(csv_bytes(rows)), keep_default_na=False)
        assert [*back.columns] == [*rows.columns]
        assert len(back) == len(rows)


def test_a_downloaded_figure_needs_no_network(opened):
    panels = opened.section.panels[:2]
    drawn = [Drawn(figure=one.figure, alt=one.alt) for one in panels]
    page = figures_page(
        drawn, section=opened.section, provenance=opened.result.provenance
    ).decode()
    assert page.count("<h3>") == 2
    assert 'src="http' not in page
    assert all(one.alt[:20] in page for one in panels)


def test_the_python_rebuilds_the_figure(folder, monkeypatch):
    entry = next(e for e in catalog(folder).entries if e.kind == "truthfulness")
    shown = []
    monkeypatch.setattr(
        "plotly.graph_objects.Figure.show", lambda figure: shown.append(figure)
    )
    exec(
        python_code(
            entry.path, figures=["figures.report_section(result).panels[2].figure"]
        ),
        {},
    )
    expected = report_section(truthfulness()).panels[2].figure
    assert shown[0].to_json() == expected.to_json()
