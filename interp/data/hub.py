"""Tables from data sets of the Hugging Face hub, with a short answer when offline."""

import logging
import queue
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from interp.data.table import SUFFIXES, Table
from interp.errors import DataError, OfflineError, closest


logger = logging.getLogger("interp.data")

# One question to the hub may take this long; the library's own limit is 100 s and
# several retries, which looks like a hang without a network.
SECONDS_TO_REACH_THE_HUB = 5.0
MAX_HUB_ROWS = 1_000_000
_ID = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(:(?P<config>[^@\s]+))?(@(?P<split>\S+))?$")


def is_hub_id(source: str) -> bool:
    """Whether a source reads as `owner/name[:config][@split]` and not as a file.

    Example:
        >>> is_hub_id("owner/name:en@test"), is_hub_id("data/cities.csv")
        (True, False)
    """
    if not _ID.match(source) or Path(source).exists():
        return False
    first, last = source.split("/")[0], Path(source).suffix.lower()
    return (
        last not in SUFFIXES and first not in (".", "..") and not Path(first).is_dir()
    )


def hub_table(source: str) -> Table:
    """The rows of one split of a data set of the hub, or of its local copy.

    Without `@split` the only split is taken, or `train` when there are several.

    Args:
        source: `owner/name[:config][@split]`.

    Raises:
        OfflineError: If the hub cannot be reached and there is no local copy.
        DataError: If there is no such data set, configuration or split, or it may not
            be read.
    """
    match = _ID.match(source)
    if match is None:
        raise DataError(
            f"Cannot read the data set id {source!r}.",
            expected="Ids are written 'owner/name:config@split'.",
        )
    repo, config, split = match["repo"], match["config"], match["split"]
    # Slow to import, and needed for no file.
    import datasets

    reachable = _reachable(repo)
    try:
        with _offline_unless(reachable):
            loaded = datasets.load_dataset(repo, config, split=split)
    except Exception as error:
        raise _explained(source, repo, reachable, error) from error
    if isinstance(loaded, dict):
        names = [str(name) for name in loaded]
        chosen = "train" if "train" in names else names[0]
        if len(names) > 1:
            logger.warning("%s: split %r of %s is read", source, chosen, names)
        loaded = loaded[chosen]
    if not isinstance(loaded, datasets.Dataset):
        raise DataError(f"{source!r} is not a table of rows.")
    if len(loaded) > MAX_HUB_ROWS:
        raise DataError(
            f"{source!r} has {len(loaded):,} rows.",
            expected=f"At most {MAX_HUB_ROWS:,} are read.",
            remedy=f"Ask for a part: '{repo}@train[:1000]'.",
        )
    return Table(
        name=source,
        columns=tuple(loaded.column_names),
        rows=tuple(loaded.to_list()),
        places=tuple(f"row {i + 1}" for i in range(len(loaded))),
    )


def _reachable(repo: str) -> bool:
    """Whether the hub answers; raises only if it refuses the data set."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    error = _answer(repo)
    if isinstance(error, GatedRepoError):
        raise DataError(
            f"The data set {repo!r} is gated.",
            remedy="Accept its terms on the hub and log in with `hf auth login`.",
        ) from error
    if isinstance(error, RepositoryNotFoundError):
        raise DataError(
            f"The hub has no data set {repo!r}, or you may not see it.",
            remedy="Check the id; private ones need `hf auth login`.",
        ) from error
    if error is not None:
        logger.info("the hub cannot be reached: %s", error)
    return error is None


def _answer(repo: str) -> Exception | None:
    """What went wrong when the hub was asked about a data set, or None.

    The question is asked in a thread that is left behind when time is up: a timeout of
    the HTTP library does not bound the look-up of the host's name.
    """
    from huggingface_hub import HfApi

    outcome: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()

    def ask() -> None:
        # The HTTP library of huggingface_hub differs between its versions, and each has
        # its own errors for names, timeouts and proxies.
        try:
            HfApi().dataset_info(repo, timeout=SECONDS_TO_REACH_THE_HUB)
        except Exception as error:
            outcome.put(error)
        else:
            outcome.put(None)

    threading.Thread(target=ask, daemon=True).start()
    try:
        return outcome.get(timeout=SECONDS_TO_REACH_THE_HUB + 1)
    except queue.Empty:
        return TimeoutError(f"no answer within {SECONDS_TO_REACH_THE_HUB} s")


@contextmanager
def _offline_unless(reachable: bool) -> Iterator[None]:
    """Send `datasets` straight to its local copies, without its retries."""
    import datasets.config

    before = datasets.config.HF_HUB_OFFLINE
    datasets.config.HF_HUB_OFFLINE = before or not reachable
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE = before


def _explained(source: str, repo: str, reachable: bool, error: Exception) -> Exception:
    if not reachable:
        return OfflineError(
            f"The data set {source!r} cannot be loaded: the hub is not reachable.",
            expected="No local copy was found either.",
            remedy=f"Go online, run `hf download --repo-type dataset {repo}` there, "
            "or name a file.",
        )
    first_line = (str(error).splitlines() or [type(error).__name__])[0][:200]
    known = re.findall(r"'([\w.-]+)'", str(error))
    return DataError(
        f"The data set {source!r} cannot be loaded.",
        expected=first_line,
        remedy=closest(source.split("@")[-1], known)
        or f"Ids are written '{repo}:config@split'.",
    )
