"""Interchange: directions and activations in the formats of other tools, out and in.

Vectors go out without torch: every name below is loaded on first use.
"""

from typing import TYPE_CHECKING

from interp.lazy import lazy_names


if TYPE_CHECKING:
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

_WHERE = {
    "as_bridge": "interp.interchange.transformer_lens",
    "from_cache": "interp.interchange.transformer_lens",
    "read_control_vector": "interp.interchange.gguf",
    "read_vector": "interp.interchange.neuronpedia",
    "to_cache": "interp.interchange.transformer_lens",
    "vector_payload": "interp.interchange.neuronpedia",
    "write_control_vector": "interp.interchange.gguf",
    "write_vector": "interp.interchange.neuronpedia",
}
__getattr__, __dir__ = lazy_names(__name__, _WHERE)
