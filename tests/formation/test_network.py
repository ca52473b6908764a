import pytest
import torch
from plain_network import plain_logits

from interp.errors import ConfigError
from interp.formation import Batch, NetworkConfig, forward, new_parameters, site_names


SHAPES = {
    "attention-only, RoPE": {},
    "attention-only, learned": {"positions": "learned", "length": 12},
    "with MLP": {"mlp": 20, "layers": 3, "heads": 4},
    "wide heads": {"d_head": 6},
}


def batch_of(symbols):
    return Batch(symbols=symbols, targets=symbols)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_each_replica_computes_what_a_plain_network_computes(shape):
    config = NetworkConfig(symbols=9, outputs=7, d_model=16, symbol_std=0.5, **shape)
    parameters = new_parameters(config, [3, 1, 2])
    symbols = torch.randint(9, (3, 4, 11), generator=torch.Generator().manual_seed(0))
    run = forward(parameters, config, batch_of(symbols))
    for replica in range(3):
        own = {name: value[replica] for name, value in parameters.items()}
        expected = plain_logits(own, config, symbols[replica])
        torch.testing.assert_close(run.logits[replica], expected, atol=1e-5, rtol=0)


def test_a_seed_gives_the_same_weights_in_any_company(network):
    together, alone = new_parameters(network, [5, 9]), new_parameters(network, [9])
    assert all(torch.equal(together[name][1], alone[name][0]) for name in together)


def test_the_sites_are_those_that_are_announced():
    config = NetworkConfig(symbols=5, outputs=5, mlp=8)
    symbols = torch.zeros(1, 1, 4, dtype=torch.long)
    run = forward(new_parameters(config, [0]), config, batch_of(symbols))
    assert tuple(run.sites) == site_names(config)


@pytest.mark.parametrize(
    ("shape", "word"),
    [
        ({"d_model": 10, "heads": 4}, "multiple"),
        ({"d_model": 6, "heads": 2}, "RoPE"),
        ({"project": False, "d_head": 4}, "projection"),
        ({"symbols": 0}, "no input"),
        ({"raw_items": True, "d_item": 5}, "width 5"),
    ],
)
def test_a_shape_that_cannot_be_is_refused_by_name(shape, word):
    with pytest.raises(ConfigError, match=word):
        new_parameters(NetworkConfig(**({"symbols": 4} | shape)), [0])
