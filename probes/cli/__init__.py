"""The `interp` command."""

from probes.cli.run import main as main
