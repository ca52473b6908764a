"""A signal stops long work between two steps, and only there."""

import os
import signal

import pytest

from interp import stopping


def test_a_signal_is_noticed_at_the_next_step():
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGUSR1)
    try:
        stopping.listen()
        stopping.stop_if_requested("nothing yet")
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(stopping.StoppedError, match="2 of 5 shards are whole") as e:
            stopping.stop_if_requested("2 of 5 shards are whole")
        assert e.value.exit_code == 75
        stopping.listen()
        stopping.stop_if_requested("a new start begins without a request")
    finally:
        signal.signal(signal.SIGTERM, before[0])
        signal.signal(signal.SIGUSR1, before[1])
