"""A process that is forked: what the tests imported is there already.

A fresh one would import torch and transformers for five seconds. Nothing here runs
threads of torch, which a fork would lose.
"""

import multiprocessing
from collections.abc import Callable
from multiprocessing.process import BaseProcess


def forked(work: Callable[[], object]) -> BaseProcess:
    """A started process that does some work; its exit code is 1 if that raised."""
    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    return process
