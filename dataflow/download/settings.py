"""What is to become of the images of a list."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, TypeAlias, get_args

from dataflow.errors import ConfigError

__all__ = ["Encoding", "Format", "Resize", "Settings"]

Format: TypeAlias = Literal["webdataset", "parquet", "folder"]
Resize: TypeAlias = Literal["no", "shortest", "border", "crop"]
Encoding: TypeAlias = Literal["jpg", "png", "webp"]

_SMALLEST_SHARD, _LARGEST_SHARD = 1, 1_000_000  # images


@dataclass(frozen=True)
class Settings:
    """What the shards are like. Two runs over one folder must agree in all of it.

    Attributes:
        format: ``"webdataset"``: tar archives; ``"parquet"``: tables with the images in them;
            ``"folder"``: a folder of files for each shard.
        shard_size: rows in a shard, those that failed included.
        resize: ``"no"``: the files as they were served; ``"shortest"``: the shorter side becomes
            `size`; ``"border"``: the longer one does, and white fills the rest of the square;
            ``"crop"``: the shorter one does, and what is beyond the square goes, half on each side.
        size: in pixels.
        only_larger: leave images that are smaller than `size` as large as they are.
        encoding: of what was resized.
        quality: of JPEG and WebP, 1 to 100.
        white: put what is transparent on white; without it, transparency is left out.
        hash: an algorithm of `hashlib`'s, for a column with the hash of the bytes served.
        caption: the column that becomes a ``.txt`` beside each image, and ``caption``.
        ordered: rows come in the order of the list; where it was shuffled, in that order.
        seed: of a shuffled list; None: not shuffled.

    Raises:
        ConfigError: one of them makes no sense.
    """

    format: Format = "webdataset"
    shard_size: int = 10_000
    resize: Resize = "no"
    size: int = 256
    only_larger: bool = False
    encoding: Encoding = "jpg"
    quality: int = 95
    white: bool = False
    hash: str | None = None
    caption: str | None = None
    ordered: bool = False
    seed: int | None = None

    def __post_init__(self) -> None:
        _choice("format", self.format, get_args(Format))
        _choice("resize", self.resize, get_args(Resize))
        _choice("encoding", self.encoding, get_args(Encoding))
        _number("shard_size", self.shard_size, _SMALLEST_SHARD, _LARGEST_SHARD)
        _number("size", self.size, 1, 1 << 14)
        _number("quality", self.quality, 1, 100)
        known = sorted(name for name in hashlib.algorithms_guaranteed if "shake" not in name)
        if self.hash is not None:
            _choice("hash", self.hash, known)

    @property
    def kept(self) -> str:
        """What an image becomes, in words."""
        if self.resize == "no":
            words: list[object] = ["as served"]
        else:
            words = [self.resize, self.size, "if larger" * self.only_larger]
            words += [self.encoding, self.quality]
        words += ["on white" * self.white, self.hash or ""]
        return " ".join(str(word) for word in words if word != "")

    def differences(self, other: dict[str, Any]) -> list[str]:
        """How settings that were written down differ from these, for a person."""
        own = asdict(self)
        return [
            f"{one.name} is {own[one.name]!r} and was {other.get(one.name, one.default)!r}"
            for one in fields(self)
            if own[one.name] != other.get(one.name, one.default)
        ]


def _choice(name: str, value: Any, known: Any) -> None:
    if value not in known:
        raise ConfigError(f"{name}={value!r} must be one of {', '.join(map(repr, known))}")


def _number(name: str, value: Any, least: int, most: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise ConfigError(f"{name}={value!r} must be a whole number from {least} to {most}")
