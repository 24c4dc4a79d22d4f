"""What goes through a pipeline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dataflow.errors import CodecError

__all__ = ["Batch", "samples"]

_UNPACKED = ("images", "labels")


class Batch(dict[str, Any]):
    """A batch: a dict by name, which unpacks as its images and, if it has any, its labels.

    ::

        images, labels = batch
        batch["keys"]  # and everything else that dicts have

    ``"images"`` is N×H×W×C, or a list of H×W×C where sizes differ; ``"labels"`` one-hot N×classes,
    float32; ``"keys"`` what identifies each sample. Iterating gives the arrays; the names are in
    `keys()`. Names may be asked for as bytes, too, as samples of older databases have them.
    """

    def __iter__(self) -> Iterator[Any]:
        return (self[name] for name in _UNPACKED if name in self)

    def __missing__(self, name: Any) -> Any:
        if isinstance(name, bytes) and (text := name.decode("latin-1")) in self:
            return self[text]
        raise KeyError(name)


def samples(batch: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The samples of a batch, one by one: dicts with the same names.

    Raises:
        CodecError: the parts of the batch have different lengths.
    """
    lengths = {name: len(part) for name, part in batch.items()}
    if len(set(lengths.values())) > 1:
        raise CodecError(f"the parts of a batch have the lengths {lengths}", reason="corrupt")
    for place in range(max(lengths.values(), default=0)):
        yield {name: part[place] for name, part in batch.items()}
