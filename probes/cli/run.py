"""Start of the `interp` command: exit codes and errors, in one place.

0 done; 1 bug; 2 bad arguments, config or data; 3 refused; 4 some shards failed; 75
stopped by a signal after a clean step; 130 Ctrl-C.
"""

import os
import sys
import traceback
from collections.abc import Sequence
from itertools import pairwise

import typer

from interp.errors import InterpError
from interp.sharding import OthersMissingError, restricted
from interp.stopping import listen
from probes.cli.app import app
from probes.cli.output import emit, fail, say
from probes.cli.sharing import remember


EXIT_BUG = 1
EXIT_BAD_ARGUMENTS = 2
EXIT_INTERRUPTED = 130


def main() -> None:
    """Run the command with the arguments of this process, and exit."""
    listen()
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run the command and return its exit code; errors become one line on stderr.

    Args:
        arguments: What stands behind `interp` on the command line.

    Example:
        >>> run(["--version"])
        0.1.0
        0
    """
    command = typer.main.get_command(app)
    as_json = "--json" in arguments
    try:
        # A command may claim a shard: no longer than it runs.
        with restricted(None):
            code = command.main(
                args=remember(arguments), prog_name="interp", standalone_mode=False
            )
    except OthersMissingError as waiting:
        say(str(waiting))
        if as_json:
            emit({"ok": True, "finished": False, "message": str(waiting)})
        return 0
    except InterpError as error:
        fail(str(error), kind=type(error).__name__, as_json=as_json)
        return error.exit_code
    except BrokenPipeError:
        # The reader of our output is gone; Python would complain again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (Exception, KeyboardInterrupt) as error:
        if isinstance(error, KeyboardInterrupt):
            return _interrupted(as_json)
        usage = _usage_error(error, arguments)
        if usage is not None:
            fail(usage, kind="UsageError", as_json=as_json)
            return EXIT_BAD_ARGUMENTS
        traceback.print_exc()
        text = f"This is a bug in interp: {type(error).__name__}: {error}"
        fail(text, kind="Bug", as_json=as_json)
        return EXIT_BUG
    # typer turns Ctrl-C inside a command into this code.
    if code == EXIT_INTERRUPTED:
        return _interrupted(as_json)
    return code if isinstance(code, int) else 0


def _interrupted(as_json: bool) -> int:
    text = "Interrupted. Run the same command again to go on from here."
    fail(text, kind="Interrupted", as_json=as_json)
    return EXIT_INTERRUPTED


def _usage_error(error: BaseException, arguments: Sequence[str]) -> str | None:
    """The message of an error in the arguments, as one line, or None."""
    format_message = getattr(error, "format_message", None)
    if format_message is None:
        return None
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "interp"
    text = " ".join(format_message().split()).rstrip(".")
    names = getattr(getattr(error, "param", None), "opts", ())
    # typer's message names the option but not what was given for it.
    given = [value for name, value in pairwise(arguments) if name in names]
    words = f" ({given[-1]!r} was given)" if given and given[-1] not in text else ""
    return f"{text}{words}. See '{command} --help'."
