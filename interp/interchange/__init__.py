"""Interchange: directions in the formats of other tools, out and in."""

from interp.interchange.gguf import (
    read_control_vector as read_control_vector,
    write_control_vector as write_control_vector,
)
from interp.interchange.neuronpedia import (
    read_vector as read_vector,
    vector_payload as vector_payload,
    write_vector as write_vector,
)
