"""Linear readouts of activations, batch studies, and the `interp` command."""
