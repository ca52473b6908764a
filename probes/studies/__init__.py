"""Studies: each turns a spec into a results folder."""
