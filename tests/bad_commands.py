"""Commands that cannot work: good files and models, and the ways to spoil them."""

import json
import os
from collections.abc import Callable
from pathlib import Path

from probes.cli.run import run


GOOD = "statement,label\n" + "".join(
    f"The city of Town{i} is in Land{i % 5}.,{i % 2}\n" for i in range(40)
)
INSTRUCTIONS = json.dumps(
    [{"instruction": f"Write about topic {i}."} for i in range(40)]
)


class Place:
    """A folder with good files and good models, to be spoilt by a case."""

    def __init__(self, folder: Path, base: Path, post: Path) -> None:
        self.folder = folder
        self.base = base
        self.post = post
        self.statements = self.write("good.csv", GOOD)
        self.harmful = self.write("harmful.json", INSTRUCTIONS)
        self.harmless = self.write(
            "harmless.json", INSTRUCTIONS.replace("Write", "Sing")
        )

    def write(self, name: str, content: str | bytes) -> Path:
        path = self.folder / name
        data = content.encode() if isinstance(content, str) else content
        path.write_bytes(data)
        return path

    def compare(self, *options: object, statements: object = None) -> list[str]:
        """A compare command, whose statement file may be a spoilt one."""
        file = statements if statements is not None else self.statements
        command = ["compare", self.base, self.post, "--statements", file]
        command += ["--out", self.folder / "out", *options]
        return [str(word) for word in command]

    def refusal(self, harmful: object, *options: object) -> list[str]:
        command = ["compare", self.base, self.post, "--harmful", harmful]
        command += ["--harmless", self.harmless, "--out", self.folder / "out", *options]
        return [str(word) for word in command]

    def capture(self, *options: object, data: object = None, model: object = None):
        words = ["capture", model or self.base, data or self.statements]
        words += [] if "--out" in options else ["--out", self.folder / "store"]
        return [str(word) for word in (*words, *options)]


def lines(*rows: str, header: str = "statement,label") -> str:
    return "\n".join((header, *rows)) + "\n"


def spoilt(place: Place, spoil: Callable[[Path], None]) -> Path:
    """A copy of the base model in which one thing is wrong."""
    folder = place.folder / "spoilt"
    folder.mkdir()
    for file in place.base.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    spoil(folder)
    return folder


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04.")


def truncated(folder: Path) -> None:
    os.truncate(folder / "model.safetensors", 1000)


def remote(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["model_type"] = "mystery"
    config["auto_map"] = {
        "AutoConfig": "mystery.MysteryConfig",
        "AutoModelForCausalLM": "mystery.Mystery",
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "mystery.py").write_text("raise SystemExit('remote code ran')\n")


def unreadable(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def occupied(place: Place) -> Path:
    folder = place.folder / "mine"
    folder.mkdir()
    (folder / "diary.txt").write_text("do not lose me")
    return folder


def filled(place: Place, second: list[str]) -> list[str]:
    """The second command, after a first one has filled the same store."""
    assert run(place.capture("--limit", 7, "--sites", "resid_post.0")) == 0
    return second


def damaged(place: Place) -> list[str]:
    command = place.capture("--limit", 7, "--sites", "resid_post.0")
    assert run(command) == 0
    (shard,) = (place.folder / "store" / "shards").iterdir()
    os.truncate(shard, shard.stat().st_size // 2)
    return command


def corrupt_result(place: Place, content: str = '{"kind": ') -> str:
    folder = place.folder / "run" / "result"
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(content)
    return str(folder)
