"""Answers of NDIF, opened without running what they say. Imported with nnsight only.

A short answer comes as one pickled message around the result. nnsight opens it as it
is; here the reader knows one class, the state of a job, and refuses to call any other.
"""

import io
import zipfile
from typing import Any

from nnsight.intervention.backends.remote import RemoteBackend
from nnsight.intervention.serialization import CustomCloudUnpickler
from nnsight.schema.response import ResponseModel, Status

from interp.errors import RemoteError


class _Message(CustomCloudUnpickler):
    """A reader of plain values and states of jobs."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        if (module_name, global_name) == (Status.__module__, Status.__name__):
            return Status
        raise RemoteError(
            f"The answer of NDIF wants to call {module_name}.{global_name}.",
            expected="A result holds tensors only.",
            remedy="Check NDIF_HOST.",
        )


class CarefulBackend(RemoteBackend):
    """The client of nnsight, with messages read by `_Message`."""

    @staticmethod
    def parse(message: str | bytes) -> ResponseModel:
        if isinstance(message, str):
            return ResponseModel.model_validate_json(message)
        with zipfile.ZipFile(io.BytesIO(message)) as archive:
            (name,) = (n for n in archive.namelist() if n.endswith("/data.pkl"))
            held = _Message(io.BytesIO(archive.read(name)), None).load()
        return ResponseModel(**held)
