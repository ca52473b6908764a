"""A patch map is written, opened and tabulated like every other result."""

import numpy as np
import pytest

from interp.provenance import Provenance
from interp.results import PatchMap, load


ROLES = (
    ("subject", "object", "last"),
    ("subject", "last", ""),
)


def made_map(**changes):
    ld = np.full((2, 2, 4, 3), -1.0, dtype=np.float32)
    ld[0, :, 1, 0] = 0.6
    ld[:, :, 3, 2] = ld[:, 1, 3, 1] = 1.0
    ld[:, 1, :, 2] = np.nan
    fields = {
        "models": ("owner/base", "owner/base"),
        "direction": "denoise",
        "method": "exact",
        "units": ("resid_post", "z.h3"),
        "window": 1,
        "layers": np.arange(4, dtype=np.int32),
        "ld": ld,
        "clean_ld": np.ones(2, dtype=np.float32),
        "corrupted_ld": -np.ones(2, dtype=np.float32),
        "roles": ROLES,
        "groups": ("Paris", "Rome"),
        "tokens": (),
        "token_layers": 10,
        "naive_token_layers": 300,
        "notes": ("As measured.",),
        "provenance": Provenance(study="patching"),
    }
    return PatchMap(**{**fields, **changes})


def test_a_map_survives_its_folder(tmp_path):
    made = made_map()
    made.save(tmp_path / "map")
    opened = load(tmp_path / "map")
    assert isinstance(opened, PatchMap)
    assert opened.ld.tobytes() == made.ld.tobytes()
    assert (opened.roles, opened.notes, opened.units) == (
        made.roles,
        made.notes,
        made.units,
    )
    assert PatchMap.load(tmp_path / "map").headline() == made.headline()


def test_the_table_has_one_row_per_cell_that_exists():
    made = made_map()
    table = made.to_dataframe()
    assert len(table) == 2 * 4 * (3 + 2)
    row = table[(table.unit == "resid_post") & (table.pair == 1) & (table.layer == 1)]
    assert row["role"].tolist() == ["subject", "last"]
    assert row["ld"].tolist() == pytest.approx([0.6, -1.0])
    assert set(row["group"]) == {"Rome"}
    assert (table.corrupted_ld == -1).all()


def test_the_headline_names_the_place_that_moves_ld_most_before_the_end():
    said = made_map().headline()
    assert "clean values of resid_post move LD most in layer 1 at subject" in said
    assert "by +1.60 of a gap of +2.00" in said
    noised = made_map(direction="noise", ld=-made_map().ld)
    assert "corrupted values of resid_post" in noised.headline()
    assert "by -1.60 of a gap of -2.00" in noised.headline()
    assert "first order" in made_map(method="attribution").headline()


def test_a_map_of_the_last_position_alone_has_a_headline():
    ld = np.ones((1, 2, 4, 1), dtype=np.float32)
    only = made_map(ld=ld, units=("resid_post",), roles=(("last",), ("last",)))
    assert "at last: by +2.00" in only.headline()
