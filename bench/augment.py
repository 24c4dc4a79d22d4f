"""What augmentors cost: each beside tensorpack's of the same name and arguments.

    python bench/augment.py [--quick] [--runs 5]

On a photograph of 400×600×3, uint8, with one thread of OpenCV's, as in a worker. Both draw their
own parameters. A family of augmentors shares a process. A result that is a view is copied, as
whatever puts it into a batch must do: tensorpack's mirrored image is one, with its rows backwards.
tensorpack's augmentors that write into their image get a copy each time; those that fail with the
installed NumPy and OpenCV are said to.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

from suite import Bench, Case, Column, Config, Target, main

Make = Callable[[Any], Any]

HSV = 40  # cv2.COLOR_BGR2HSV
EIGENVALUES = [0.2175 * 255, 0.0188 * 255, 0.0045 * 255]
EIGENVECTORS = [
    [-0.5675, 0.7192, 0.4009],
    [-0.5808, -0.0045, -0.8140],
    [-0.5836, -0.6948, 0.4203],
]
ANCHORS = [(0.2, 0.2), (0.7, 0.2), (0.8, 0.8), (0.5, 0.5), (0.2, 0.5)]


def resnet(m: Any) -> Any:
    """The augmentation that tensorpack's ResNet examples train with."""
    colours = [
        m.BrightnessScale((0.6, 1.4), clip=False),
        m.Contrast((0.6, 1.4), rgb=False, clip=False),
        m.Saturation(0.4, rgb=False),
        m.Lighting(0.1, EIGENVALUES, EIGENVECTORS),
    ]
    parts = [m.GoogleNetRandomCropAndResize(), m.RandomOrderAug(colours), m.Flip(horiz=True)]
    return m.AugmentorList(parts)


FAMILIES: dict[str, dict[str, Make]] = {
    "colour": {
        "Brightness": lambda m: m.Brightness(30),
        "BrightnessScale": lambda m: m.BrightnessScale((0.6, 1.4)),
        "Contrast": lambda m: m.Contrast((0.6, 1.4)),
        "Contrast, grey": lambda m: m.Contrast((0.6, 1.4), rgb=False),
        "Hue": lambda m: m.Hue((-30, 30)),
        "Lighting": lambda m: m.Lighting(0.1, EIGENVALUES, EIGENVECTORS),
        "Saturation": lambda m: m.Saturation(0.4),
    },
    "values": {
        "Clip": lambda m: m.Clip(10, 245),
        "ColorSpace": lambda m: m.ColorSpace(HSV),
        "Gamma": lambda m: m.Gamma(),
        "Grayscale": lambda m: m.Grayscale(),
        "MeanVarianceNormalize": lambda m: m.MeanVarianceNormalize(),
        "MeanVarianceNormalize, by channel": lambda m: m.MeanVarianceNormalize(False),
        "MinMaxNormalize": lambda m: m.MinMaxNormalize(),
        "MinMaxNormalize, by channel": lambda m: m.MinMaxNormalize(all_channel=False),
        "ToFloat32": lambda m: m.ToFloat32(),
        "ToFloat32, ToUint8": lambda m: m.AugmentorList([m.ToFloat32(), m.ToUint8()]),
    },
    "noise": {
        "GaussianBlur": lambda m: m.GaussianBlur(3),
        "GaussianNoise": lambda m: m.GaussianNoise(5),
        "JpegNoise": lambda m: m.JpegNoise(),
        "RandomCutout": lambda m: m.RandomCutout(60, 60),
        "SaltPepperNoise": lambda m: m.SaltPepperNoise(),
    },
    "size": {
        "CenterCrop": lambda m: m.CenterCrop(224),
        "CenterPaste": lambda m: m.CenterPaste((640, 640)),
        "Flip": lambda m: m.Flip(horiz=True, prob=1),
        "GoogleNetRandomCropAndResize": lambda m: m.GoogleNetRandomCropAndResize(),
        "RandomCrop": lambda m: m.RandomCrop(224),
        "RandomCropRandomShape": lambda m: m.RandomCropRandomShape(100, 100),
        "RandomPaste": lambda m: m.RandomPaste((640, 640)),
        "RandomResize": lambda m: m.RandomResize((0.7, 1.3), aspect_ratio_thres=0),
        "Resize": lambda m: m.Resize(224),
        "ResizeShortestEdge": lambda m: m.ResizeShortestEdge(256),
        "Transpose": lambda m: m.Transpose(1),
    },
    "geometry": {
        "Affine": lambda m: m.Affine((0.8, 1.2), (0.1, 0.1), 20.0, 10.0),
        "GaussianDeform": lambda m: m.deform.GaussianDeform(ANCHORS, (400, 600)),
        "Rotation": lambda m: m.Rotation(30),
        "RotationAndCropValid": lambda m: m.RotationAndCropValid(30),
        "Shift": lambda m: m.Shift(0.1, 0.1),
    },
    "combined": {
        "Identity": lambda m: m.Identity(),
        "MapImage": lambda m: m.MapImage(abs),
        "RandomApplyAug": lambda m: m.RandomApplyAug(m.CenterCrop(224), 0.5),
        "RandomChooseAug": lambda m: m.RandomChooseAug([m.CenterCrop(224), m.RandomCrop(224)]),
        "RandomOrderAug": lambda m: m.RandomOrderAug([m.Identity(), m.CenterCrop(224)]),
        "AugmentorList, as for ResNet": resnet,
    },
}

WRITE_INTO_THEIR_IMAGE = {"RandomCutout", "SaltPepperNoise"}  # tensorpack's


def ours(config: Config) -> dict[str, Any]:
    return timed("dataflow.imgaug", config)


def tensorpack(config: Config) -> dict[str, Any]:
    return timed("tensorpack.dataflow.imgaug", config, copied=WRITE_INTO_THEIR_IMAGE)


def timed(package: str, config: Config, copied: Any = ()) -> dict[str, Any]:
    """Each augmentor of a family, again and again for a while."""
    import cv2
    import skimage

    cv2.setNumThreads(1)
    image: Any = cv2.imread(str(Path(skimage.__file__).parent / "data" / "coffee.png"))
    module = importlib.import_module(package)
    found: dict[str, Any] = {}
    for name, make in FAMILIES[config["family"]].items():
        try:
            augmentor = make(module)
            augmentor.reset_state()
            seconds = config["seconds"]
            found[name] = {"us": 1e6 * seconds_each(augmentor, image, seconds, name in copied)}
        except Exception as error:
            found[name] = {"error": f"{type(error).__name__}: {error}"}
    return found


def seconds_each(augmentor: Any, image: Any, seconds: float, copied: bool) -> float:
    """What one image takes, after a few that do not count."""
    import numpy as np

    def once() -> None:
        np.ascontiguousarray(augmentor.augment(image.copy() if copied else image))

    for _ in range(3):
        once()
    count, begun = 0, perf_counter()
    while (now := perf_counter()) < begun + seconds or not count:
        once()
        count += 1
    return (now - begun) / count


def cases(quick: bool) -> list[Case]:
    seconds = 0.01 if quick else 0.12
    return [
        Case(
            name if system == "dataflow" else f"{name} ({system})",
            system,
            cell,
            {"family": family, "seconds": seconds},
            part=name,
        )
        for family, augmentors in FAMILIES.items()
        for name in augmentors
        for system, cell in [("dataflow", "ours"), ("tensorpack", "tensorpack")]
    ]


NAMES = [name for augmentors in FAMILIES.values() for name in augmentors]

BENCH = Bench(
    name="augment",
    title="Augmentors on a photograph of 400×600×3",
    columns=(Column("us", "µs an image"),),
    cells={"ours": ours, "tensorpack": tensorpack},
    cases=cases,
    targets=tuple(
        Target(f"{name}, as a part of tensorpack's time", name, 1, f"{name} (tensorpack)", True)
        for name in NAMES
    ),
    less_is_better=True,
    references={name: f"{name} (tensorpack)" for name in NAMES},
    peers_may_fail=True,
)

if __name__ == "__main__":
    main(BENCH)
