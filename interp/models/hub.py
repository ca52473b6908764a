"""Model files from a hub: what is there, what is fetched, and what can go wrong.

The hub is asked once, with a short time limit, before anything is downloaded, so a
wrong name, a closed door or a missing network is reported in seconds. What arrives lies
in the ordinary Hugging Face cache, where `hf download` puts it too.
"""

import logging
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import (
    HfApi,
    constants,
    snapshot_download,
    try_to_load_from_cache,
    utils as hub_utils,
)
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from interp.errors import (
    InterpError,
    ModelAccessError,
    ModelNotFoundError,
    OfflineError,
    closest,
)
from interp.models.checkpoint import (
    INDEX,
    SINGLE,
    Checkpoint,
    read_json,
    wanted_files,
    weight_files,
)


logger = logging.getLogger("interp.models")

SECONDS_TO_ANSWER = 5.0
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The files of one commit of a repository, on this machine."""

    folder: Path
    commit: str


def fetch(
    repo: str,
    revision: str | None,
    *,
    code: bool = False,
    weights: Sequence[str] | None = None,
    cache: Path | None = None,
) -> Snapshot:
    """The files that loading needs, downloaded unless they are in the cache.

    Without a network a cached copy is used, and a warning says so.

    Args:
        repo: A hub id such as `"openai-community/gpt2"`.
        revision: A branch, tag or commit; None is the main branch.
        code: Whether Python files are fetched too.
        weights: The weight files that are wanted; all of them by default.
        cache: Where files are kept instead of the ordinary cache.

    Raises:
        ModelNotFoundError: If there is no such repository or revision, or it holds no
            model.
        ModelAccessError: If it is gated or private.
        OfflineError: If no hub can be reached and the cache does not have it.
        UnsafeModelError: If its weights are pickled only.
    """
    _check_id(repo)
    cached = _cached(repo, revision, cache)
    if constants.HF_HUB_OFFLINE or (
        # A commit never changes: what the cache has of it is what the hub has.
        cached
        and revision
        and _COMMIT.fullmatch(revision)
        and _holds(cached.folder, weights)
    ):
        if cached is None:
            raise _offline(repo, revision, "HF_HUB_OFFLINE is set")
        return cached
    try:
        return _download(repo, revision, code=code, weights=weights, cache=cache)
    except InterpError:
        raise
    except Exception as error:  # httpx errors have no common base with the hub's own
        problem = _explained(error, repo, revision)
        if problem is None:
            raise
        if (
            isinstance(problem, OfflineError)
            and cached is not None
            and _holds(cached.folder, weights)
        ):
            logger.warning(
                "%s The cached commit %s is used.", problem.what, cached.commit[:12]
            )
            return cached
        raise problem from error


def revisions(repo: str) -> dict[str, str]:
    """The branches and tags of a repository, with the commit of each.

    Args:
        repo: A hub id.

    Raises:
        ModelNotFoundError: If there is no such repository.
        ModelAccessError: If it is gated or private.
        OfflineError: If no hub can be reached.
    """
    _check_id(repo)
    if constants.HF_HUB_OFFLINE:
        raise _offline(repo, None, "HF_HUB_OFFLINE is set")
    try:
        found = HfApi().list_repo_refs(repo)
    except Exception as error:  # as in `fetch`
        problem = _explained(error, repo, None)
        if problem is None:
            raise
        raise problem from error
    return {ref.name: ref.target_commit for ref in (*found.branches, *found.tags)}


def whole_copy(repo: str, commit: str) -> Snapshot | None:
    """A commit in the ordinary cache, if all of its weights are there."""
    cached = _cached(repo, commit)
    return cached if cached and _holds(cached.folder, None) else None


def weight_sizes(repo: str, commit: str) -> dict[str, int]:
    """The size of each weight file of a commit; nothing is fetched.

    Args:
        repo: A hub id.
        commit: A commit of it.

    Raises:
        OfflineError: If no hub can be reached and the cache does not have the weights.
    """
    if cached := whole_copy(repo, commit):
        found = without_weights(cached.folder, repo).weights
        return {file.name: file.stat().st_size for file in found}
    try:
        info = HfApi().model_info(
            repo, revision=commit, timeout=SECONDS_TO_ANSWER, files_metadata=True
        )
    except Exception as error:  # as in `fetch`
        problem = _explained(error, repo, commit)
        if problem is None:
            raise
        raise problem from error
    sizes = {file.rfilename: file.size or 0 for file in info.siblings or []}
    wanted = wanted_files(sizes, where=f"The hub repository {repo}")
    return {name: sizes[name] for name in wanted if name.endswith(".safetensors")}


def without_weights(folder: Path, repo: str) -> Checkpoint:
    """A cached commit of which some or all weight files may not be there.

    Args:
        folder: Where the cache has it.
        repo: What it is called.

    Raises:
        UnsupportedModelError: If its config cannot be read.
    """
    return Checkpoint(
        folder=folder,
        config=read_json(folder / "config.json"),
        weights=tuple(sorted(folder.glob("*.safetensors"))),
    )


def _check_id(repo: str) -> None:
    try:
        hub_utils.validate_repo_id(repo)
    except HFValidationError as error:
        raise ModelNotFoundError(
            f"{repo!r} is neither a folder nor a hub id.",
            expected="A hub id looks like 'organisation/name'.",
            remedy="Check the spelling.",
        ) from error


def _download(
    repo: str,
    revision: str | None,
    *,
    code: bool,
    weights: Sequence[str] | None,
    cache: Path | None,
) -> Snapshot:
    info = HfApi().model_info(repo, revision=revision, timeout=SECONDS_TO_ANSWER)
    names = [file.rfilename for file in info.siblings or []]
    where = f"The hub repository {repo}"
    wanted = wanted_files(names, where=where, code=code)
    if weights is not None:
        wanted = [
            name
            for name in wanted
            if not name.endswith(".safetensors") or name in weights
        ]
    logger.info("Fetching %d files of %s unless they are cached.", len(wanted), repo)
    with _bars_only_where_seen():
        folder = snapshot_download(
            repo,
            revision=revision,
            allow_patterns=wanted,
            etag_timeout=SECONDS_TO_ANSWER,
            cache_dir=cache,
        )
    return Snapshot(folder=Path(folder), commit=Path(folder).name)


@contextmanager
def _bars_only_where_seen() -> Iterator[None]:
    # The hub's own bars know the bytes of files that arrive side by side; in a log file
    # they would be a line for every step.
    mode = os.environ.get("INTERP_PROGRESS", "auto")
    seen = mode == "bar" or (
        mode == "auto" and (sys.stderr.isatty() or "ipykernel" in sys.modules)
    )
    if seen or hub_utils.are_progress_bars_disabled():
        yield
        return
    hub_utils.disable_progress_bars()
    try:
        yield
    finally:
        hub_utils.enable_progress_bars()


def _cached(
    repo: str, revision: str | None, cache: Path | None = None
) -> Snapshot | None:
    config = try_to_load_from_cache(
        repo, "config.json", revision=revision, cache_dir=cache
    )
    if not isinstance(config, str):
        return None
    folder = Path(config).parent
    return Snapshot(folder=folder, commit=folder.name)


def _holds(folder: Path, weights: Sequence[str] | None) -> bool:
    """Whether a cached commit has the weight files: some may never have been wanted."""
    if weights is None:
        index = folder / INDEX
        if not index.is_file():
            return (folder / SINGLE).is_file()
        weights = sorted(set(weight_files(index).values()))
    return all((folder / name).is_file() for name in weights)


def _explained(error: Exception, repo: str, revision: str | None) -> InterpError | None:
    # The order matters: a gated repository is a kind of missing one to the client.
    if isinstance(error, GatedRepoError):
        return ModelAccessError(
            f"The repository {repo} is gated.",
            expected="Its owner must grant you access.",
            remedy=f"Ask for it at {constants.ENDPOINT}/{repo}, then run "
            "`hf auth login`.",
        )
    if isinstance(error, RevisionNotFoundError):
        return ModelNotFoundError(
            f"The repository {repo} has no revision {revision!r}.",
            remedy=f"See {constants.ENDPOINT}/{repo}/tree/main for its branches and "
            "tags.",
        )
    if isinstance(error, RepositoryNotFoundError):
        return ModelNotFoundError(
            f"There is no model {repo!r}: no such folder here and no such repository "
            f"on {constants.ENDPOINT}.",
            remedy=_resembling(repo)
            or "Check the spelling; if it is private, run `hf auth login`.",
        )
    if isinstance(error, OfflineModeIsEnabled):
        return _offline(repo, revision, "HF_HUB_OFFLINE is set")
    if isinstance(error, LocalEntryNotFoundError):
        return _offline(repo, revision, _first_line(error.__cause__ or error))
    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code
        if status in (401, 403):
            return ModelAccessError(
                f"The hub refuses access to {repo} (HTTP {status}).",
                expected="The repository is private or your token lacks the right.",
                remedy="Run `hf auth login` with a token that may read it.",
            )
        return _offline(repo, revision, f"HTTP {status}")
    if type(error).__module__.partition(".")[0].startswith("httpx") or isinstance(
        error, OSError
    ):
        return _offline(repo, revision, _first_line(error))
    return None


def _offline(repo: str, revision: str | None, reason: str) -> OfflineError:
    at = f" at revision {revision!r}" if revision else ""
    option = f" --revision {revision}" if revision else ""
    return OfflineError(
        f"The hub {constants.ENDPOINT} cannot be reached for {repo} ({reason}).",
        expected=f"The cache has no copy of {repo}{at}."
        if _cached(repo, revision) is None
        else "",
        remedy=f"Run `hf download {repo}{option}` where there is a network, or give a "
        f"local folder. {_resembling(repo)}",
    )


def _resembling(repo: str) -> str:
    # "models/llma" may have been meant as a path: name the folder that it resembles.
    parent = Path(repo).parent
    if not parent.is_dir():
        return ""
    return closest(repo, [str(path) for path in parent.iterdir() if path.is_dir()])


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
