"""NDIF: whether it can be used, how a run is sent there, and what may go wrong.

Nothing here is called unless a model was loaded with `remote=True`, but for the check
that nnsight is installed. Its client answers with pickled files; they are opened as
tensors and plain containers only.
"""

import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from interp.errors import (
    ConfigError,
    InterpError,
    ModelAccessError,
    OfflineError,
    RemoteError,
    UnsupportedModelError,
)
from interp.models.hub import fetch


KEY, HOST = "NDIF_API_KEY", "NDIF_HOST"
DEFAULT_HOST = "https://api.ndif.us"
# For the connection, not for the run: who does not answer by then is not there.
SECONDS_TO_ANSWER = 10.0
_REFUSALS = ("401", "403", "api key", "api_key", "unauthorized", "forbidden")


def prepared() -> None:
    """Check that nnsight is there.

    Raises:
        ConfigError: If it is not installed.
    """
    if importlib.util.find_spec("nnsight") is None:
        raise ConfigError(
            "backend='nnsight' was asked for, and nnsight is not installed.",
            expected="It is an optional part of this package.",
            remedy="Run `pip install 'interp[nnsight]'`, or leave backend= out.",
        )


def key_and_host() -> tuple[str, str]:
    """The key and the address of NDIF, from the environment.

    Raises:
        ModelAccessError: If there is no key.
        ConfigError: If the address is none.
    """
    key = os.environ.get(KEY, "").strip()
    if not key:
        raise ModelAccessError(
            f"remote=True was asked for, and {KEY} is not set.",
            expected="NDIF runs models for holders of a key.",
            remedy=f"Get one at https://login.ndif.us and set {KEY}, or use"
            " remote=False.",
        )
    host = os.environ.get(HOST, "").strip().rstrip("/") or DEFAULT_HOST
    if not host.startswith(("http://", "https://")):
        raise ConfigError(
            f"{HOST} is {host!r}.",
            expected="An address that begins with https:// or http://.",
            remedy=f"Leave it out for {DEFAULT_HOST}.",
        )
    return key, host


def remote_envoy(source: str | Path, *, revision: str | None, tokenizer: Any) -> Any:
    """A model without weights as nnsight wraps it, with the model's tokenizer.

    Config and tokenizer are fetched from the hub, or taken from its cache.

    Args:
        source: A hub id.
        revision: A branch, tag or commit.
        tokenizer: Used instead of the model's own.

    Raises:
        ConfigError: If it is a folder, or nnsight is not installed.
        ModelAccessError: If there is no key.
        ModelNotFoundError: If there is no such model.
        OfflineError: If the hub cannot be reached.
        UnsupportedModelError: If no model can be made of its config.
    """
    prepared()
    key_and_host()
    if isinstance(source, Path) or Path(source).expanduser().exists():
        raise ConfigError(
            f"remote=True was asked for the folder {str(source)!r}.",
            expected="NDIF knows models by their hub ids.",
            remedy="Give the hub id, or use remote=False.",
        )
    folder = fetch(source, revision, weights=()).folder
    from nnsight.modeling.transformers import TransformersModel
    from transformers import AutoConfig, AutoTokenizer

    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        # The config travels; where it lay is nobody's business.
        config._name_or_path = source
        if tokenizer is None:
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        envoy = TransformersModel(
            source,
            revision=revision,
            task="text-generation",
            tokenizer=tokenizer,
            config=config,
        )
    except Exception as error:  # checkpoints can be wrong in any way
        line = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise UnsupportedModelError(
            f"{source} cannot be prepared for NDIF: {line}.",
            expected="A causal language model that transformers knows, with tokenizer.",
            remedy="Check the name and the revision.",
        ) from error
    envoy._module.eval()
    return envoy


def remote_backend(envoy: Any) -> Any:
    """What sends a trace to NDIF and waits for the answer.

    Raises:
        ModelAccessError: If there is no key.
        OfflineError: If the hub, which knows the model's full name, cannot be reached.
    """
    from nnsight import register
    from nnsight.intervention.backends.display import StatusDisplay

    from interp.models import traced_body
    from interp.models.traced_answers import CarefulBackend

    key, host = key_and_host()
    # The other machine does not have this library.
    register(traced_body)
    try:
        name = envoy.to_model_key()
    except Exception as error:  # the hub's client raises what its transport does
        raise OfflineError(
            f"The hub cannot be asked for {envoy.repo_id}: {_line(error)}.",
            expected="NDIF is told the name as the hub spells it.",
        ) from error
    backend = CarefulBackend(
        name, host=host, api_key=key, env=envoy._remoteable_get_env()
    )
    backend.display = StatusDisplay(enabled=False)  # it prints
    backend.compress = importlib.util.find_spec("zstandard") is not None
    return backend


@contextmanager
def translated(backend: Any) -> Iterator[None]:
    """One clear line for whatever goes wrong between here and NDIF.

    Args:
        backend: What sends the run; None where it stays here.

    Raises:
        ModelAccessError: If the key is refused.
        OfflineError: If NDIF cannot be reached.
        RemoteError: If the run failed there.
    """
    if backend is None:
        yield
        return
    import httpx
    import websocket
    from nnsight.intervention.backends import remote
    from nnsight.intervention.interleaver import OutOfOrderError

    try:
        with _careful():
            yield
    except (InterpError, OutOfOrderError):
        raise
    except (websocket.WebSocketBadStatusException, remote.RemoteError) as error:
        refused = any(word in str(error).lower() for word in _REFUSALS)
        if refused:
            raise ModelAccessError(
                f"{backend.host} refuses the key in {KEY}: {_line(error)}.",
                remedy="Check the key, and that it may use this model.",
            ) from error
        if isinstance(error.__cause__, httpx.TransportError):
            raise _unreachable(backend.host, error) from error
        raise RemoteError(
            f"The run failed on {backend.host}: {_line(error)}.",
            remedy="See https://nnsight.net/status for the models that run there.",
        ) from error
    except (OSError, httpx.TransportError, websocket.WebSocketException) as error:
        raise _unreachable(backend.host, error) from error
    except Exception as error:  # an answer can be wrong in any way
        raise RemoteError(
            f"The answer of {backend.host} cannot be read: {type(error).__name__}.",
            expected="A set of tensors; anything else in it is not opened.",
            remedy=f"Check {HOST}.",
        ) from error


def _unreachable(host: str, error: BaseException) -> OfflineError:
    return OfflineError(
        f"NDIF cannot be reached at {host}: {_line(error)}.",
        expected="Runs with remote=True need a connection to it.",
        remedy=f"Check the network and {HOST}, or use remote=False.",
    )


def _line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1].rstrip(".")


@contextmanager
def _careful() -> Iterator[None]:
    """No endless wait for a connection, and no code in what comes back."""
    import websocket

    force = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    before, timeout = os.environ.get(force), websocket.getdefaulttimeout()
    # nnsight reads answers as pickles that may hold code; torch obeys this instead.
    os.environ[force] = "1"
    websocket.setdefaulttimeout(SECONDS_TO_ANSWER)
    try:
        yield
    finally:
        websocket.setdefaulttimeout(timeout)
        if before is None:
            os.environ.pop(force, None)
        else:
            os.environ[force] = before
