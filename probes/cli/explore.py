"""`interp explore`: a folder of results in the browser, on this machine only."""

import importlib.util
import os
import socket
import threading
from pathlib import Path
from typing import Annotated

import typer

from probes.cli.options import Device
from probes.cli.output import say


FIRST_PORT, LAST_PORT = 8501, 8600
ADDRESS = "127.0.0.1"
HOSTS = (ADDRESS, "localhost")


def explore(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="A folder that holds results.")
    ],
    port: Annotated[
        int | None,
        typer.Option(help="A free one from 8501 on by default.", min=1, max=65535),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="ID",
            help="Hub id or folder of the model for the page Lab; by default the "
            "embedded one that `interp demo` trained.",
        ),
    ] = None,
    revision: Annotated[
        str | None, typer.Option(help="Revision of the model on the hub.")
    ] = None,
    device: Device = "auto",
) -> int:
    """Show the results below DIR in the browser; steer a model on the page Lab.

    Pages of results load no model. The Lab loads one when it is opened: it colours the
    tokens of a prompt by saved directions and probes, reads what each layer would
    predict, and writes text unchanged and steered side by side.

    Only this machine can reach the pages, and only as 127.0.0.1 or localhost. Of
    results, only files below DIR are read; only links and texts that you ask the Lab
    to keep are written there, to DIR/shares and DIR/lab. Nothing is sent anywhere. It
    runs until Ctrl-C.
    """
    app = _app()
    _check_results(directory)
    asked = _model_arguments(model, revision, device)
    place = _free_port(port)
    say(f"The results in {directory} are at http://{ADDRESS}:{place}")
    if model is not None:
        say(f"The Lab with {model} is at http://{ADDRESS}:{place}/lab")
    say("Ctrl-C ends it.")
    # While the server starts, so that the first page does not wait for it.
    threading.Thread(
        target=_import_ahead, args=(model is not None,), daemon=True
    ).start()
    return _serve(app, [str(directory.expanduser().resolve()), *asked], place)


def _model_arguments(model: str | None, revision: str | None, device: str) -> list[str]:
    """What the app is told of the model; nothing is loaded here.

    Raises:
        ModelNotFoundError: If a folder is asked for that is not there.
        ConfigError: If a revision is given without a model.
    """
    if model is None:
        from interp.errors import ConfigError

        if revision is not None:
            raise ConfigError(
                f"The revision {revision!r} was given without a model.",
                remedy="Add --model ID.",
            )
        return [f"--device={device}"]
    from interp.models.checkpoint import exists, inspect_folder

    folder = Path(model).expanduser()
    if exists(folder) or model.startswith((".", "/", "~")):
        inspect_folder(folder, model)
        model = str(folder.resolve())
    told = [f"--model={model}", f"--device={device}"]
    return told + ([f"--revision={revision}"] if revision else [])


def _app() -> Path:
    from interp.errors import ResultError

    if importlib.util.find_spec("streamlit") is None:
        raise ResultError(
            "The explorer needs the package streamlit, which is not installed.",
            remedy="Install it: pip install 'interp[explorer]'.",
        )
    found = importlib.util.find_spec("interp_explorer")
    if found is None or found.origin is None:
        raise ResultError(
            "The package interp_explorer is not installed.",
            expected="It comes with interp.",
            remedy="Install interp again; in a checkout: pip install -e '.[explorer]'.",
        )
    return Path(found.origin).with_name("app.py")


def _check_results(directory: Path) -> None:
    from interp.errors import ResultError
    from interp_explorer.catalog import catalog

    if not catalog(directory.expanduser()).entries:
        raise ResultError(
            f"There are no results in {str(directory)!r}.",
            expected="A folder that a command wrote with --out was expected.",
            remedy="interp demo --out DIR makes one.",
        )


def _free_port(port: int | None) -> int:
    """The port that was asked for, or the first free one.

    Raises:
        ConfigError: If it is taken, or all are.
    """
    from interp.errors import ConfigError

    asked = range(FIRST_PORT, LAST_PORT + 1) if port is None else (port,)
    for number in asked:
        with socket.socket() as probe:
            # As servers do, so that a page that has just ended does not block it.
            if os.name == "posix":
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((ADDRESS, number))
            except OSError:
                continue
        return number
    raise ConfigError(
        f"Port {asked[0]} cannot be used."
        if port is not None
        else f"No port from {FIRST_PORT} to {LAST_PORT} is free.",
        remedy="Choose another with --port.",
    )


def _import_ahead(with_model: bool) -> None:
    import interp.figures
    import probes.studies.summary

    if with_model:
        import interp.models.loading
        import interp.streaming

    del interp, probes


def _serve(app: Path, arguments: list[str], port: int) -> int:
    from streamlit.web import cli

    # On the command line these win over every settings file.
    safe = {
        "server.address": ADDRESS,
        "server.port": port,
        "server.enableCORS": "true",
        "server.enableXsrfProtection": "true",
        "server.enableAgentApi": "false",
        "server.enableStaticServing": "false",
        "server.showEmailPrompt": "false",
        "browser.gatherUsageStats": "false",
    }
    flags = [text for name, value in safe.items() for text in (f"--{name}", str(value))]
    for host in HOSTS:
        flags += ["--server.allowedHosts", host]
    # Beside the pages stands the server that refuses foreign hosts and origins.
    code = cli.main(
        args=["run", str(app.with_name("served.py")), *flags, "--", *arguments],
        prog_name="streamlit",
        standalone_mode=False,
    )
    return code if isinstance(code, int) else 0
