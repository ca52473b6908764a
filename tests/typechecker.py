"""The run-time type checker of the tests: beartype, with ints where floats are asked.

A module of its own because jaxtyping takes no arguments for a checker when
several packages are named (it splits at the wrong comma).
"""

from beartype import BeartypeConf, beartype


checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
