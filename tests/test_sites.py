"""Names of sites: two spellings, wildcards, and clear refusals."""

import pytest

from interp.errors import UnknownSiteError
from interp.sites import COMPONENTS, GLOBAL_COMPONENTS, Site, expand, parse


@pytest.mark.parametrize("component", COMPONENTS)
def test_both_spellings_name_the_same_site(component):
    site = Site(component, None if component in GLOBAL_COMPONENTS else 12)
    assert parse(site.short) == parse(str(site)) == site


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("resid_post.*", ["resid_post.0", "resid_post.1", "resid_post.2"]),
        ("blocks.*.hook_resid_post", ["resid_post.0", "resid_post.1", "resid_post.2"]),
        ("z.{1..2}", ["z.1", "z.2"]),
        ("z.{0, 2}", ["z.0", "z.2"]),
        ("mlp_out.-1", ["mlp_out.2"]),
        (["logits", "embed"], ["embed", "logits"]),
        (
            ["mlp_out.0", "q.0", "q.0", "resid_pre.0"],
            ["resid_pre.0", "q.0", "mlp_out.0"],
        ),
    ],
)
def test_patterns_expand_in_forward_order_without_repeats(pattern, expected):
    assert [site.short for site in expand(pattern, 3)] == expected


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("resid_pst.1", "Did you mean 'resid_post'"),
        ("resid_post.3", r"no layer 3 .* 3 layers, 0 to 2"),
        ("resid_post.-4", "no layer -1"),
        ("z.{0..9}", "no layer 3"),
        ("z.one", "Cannot read the layers"),
        ("z", "needs a layer"),
        ("logits.2", "has no layer"),
        ([], "No site was asked for"),
        ("", "No site is called ''"),
    ],
)
def test_bad_patterns_say_what_and_what_to_do(pattern, message):
    with pytest.raises(UnknownSiteError, match=message):
        expand(pattern, 3)
