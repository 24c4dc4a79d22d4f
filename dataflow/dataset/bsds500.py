"""Berkeley's segmentation data set: photos, and the edges that people drew in them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from dataflow.dataset.archive import unpack
from dataflow.dataset.arguments import one_of, place_of
from dataflow.dataset.download import PublishedFile, obtain
from dataflow.dataset.mat import check_scipy, load_mat
from dataflow.errors import DecodeError, MissingData
from dataflow.image.decode import decode_image
from dataflow.sources.lists import DataFromList

__all__ = ["BSDS500"]

_HEIGHT, _WIDTH = 321, 481


class BSDS500(DataFromList):
    """200 photos for training, 100 for validation, 200 for tests, with the edges in them.

    Datapoints are ``[image, edges]``: BGR, uint8, 321×481×3; and float32, 321×481, the share of
    the annotators who marked the pixel as an edge, from 0 to 1. Upright photos are transposed.
    Files are read in the workers. Needs SciPy (``pip install scipy``).

    Args:
        name: ``"train"``, ``"val"`` or ``"test"``.
        data_dir: the folder with the archive's folder ``BSR`` in it; where that is missing, it is
            downloaded. None is ``bsds500_data`` in the folder of data sets (the environment
            variable DATAFLOW_DATASET or TENSORPACK_DATASET).
        shuffle: a new random order in each epoch.

    Attributes:
        archive: where the archive [1]_ is. Its checksum is not its authors', but that of the file
            which they serve, as several users tell it.

    Raises:
        ConfigError: for any other split.
        MissingData: the archive cannot be downloaded or unpacked, or lacks files.
        MissingExtra: SciPy is not installed.

    .. [1] Arbelaez, Maire, Fowlkes and Malik, "Contour detection and hierarchical image
       segmentation", TPAMI 2011.
    """

    archive: ClassVar[PublishedFile] = PublishedFile(
        tuple(
            f"https://{host}.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/BSR/"
            "BSR_bsds500.tgz"
            for host in ("www2", "www")
        ),
        "sha256:97e49d31764f3912f0c4122707d53062ac9e783ba0f095e447a4d53c1a41af8e",
        70_763_455,
    )

    def __init__(
        self, name: str, data_dir: str | os.PathLike[str] | None = None, shuffle: bool = True
    ) -> None:
        self.name = one_of("name", name, "train", "test", "val")
        check_scipy()
        folder = place_of(data_dir, "bsds500_data")
        if not (folder / "BSR").is_dir():
            unpack(obtain(self.archive, folder), folder, last="BSR")
        data = folder / "BSR/BSDS500/data"
        images = sorted((data / "images" / name).glob("*.jpg"))
        if not images:
            raise MissingData(
                f"{data / 'images' / name} has no images. Delete {folder / 'BSR'}, and it is "
                "downloaded again"
            )
        edges = data / "groundTruth" / name
        super().__init__([[str(path), str(edges / f"{path.stem}.mat")] for path in images], shuffle)

    def loader(self) -> _Read:
        return _Read()


class _Read:
    """Makes ``[image, edges]`` of two paths."""

    def __call__(self, paths: list[str]) -> list[npt.NDArray[np.generic]]:
        photo, annotations = map(Path, paths)
        image = decode_image(photo.read_bytes(), url=str(photo))
        edges = _edges(annotations)
        if image.shape[0] > image.shape[1]:
            image = np.ascontiguousarray(image.transpose(1, 0, 2))
        if edges.shape[0] > edges.shape[1]:
            edges = np.ascontiguousarray(edges.T)
        for what, array in ((photo, image), (annotations, edges)):
            if array.shape[:2] != (_HEIGHT, _WIDTH):
                raise DecodeError(
                    f"{what} is of shape {array.shape}, not {_HEIGHT}×{_WIDTH}",
                    reason="corrupt",
                    url=str(what),
                )
        return [image, edges]


def _edges(path: Path) -> npt.NDArray[np.float32]:
    """The mean of what each annotator marked."""
    (cells,) = load_mat(path, "groundTruth")
    try:
        marked = [cell["Boundaries"][0][0] for cell in cells[0]]
        edges: npt.NDArray[np.float32] = sum(marked[1:], marked[0]).astype(np.float32)
    except (IndexError, ValueError, TypeError, AttributeError) as error:
        raise MissingData(f"{path} has no annotations of the expected kind: {error}") from error
    edges *= np.float32(1.0 / len(marked))
    return edges
