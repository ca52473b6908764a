"""Interchange: directions and activations in the formats of other tools, out and in."""

from interp.interchange.gguf import (
    read_control_vector as read_control_vector,
    write_control_vector as write_control_vector,
)
from interp.interchange.neuronpedia import (
    read_vector as read_vector,
    vector_payload as vector_payload,
    write_vector as write_vector,
)
from interp.interchange.transformer_lens import (
    as_bridge as as_bridge,
    from_cache as from_cache,
    to_cache as to_cache,
)
