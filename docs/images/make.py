"""Makes the pictures of ``docs/images.md`` anew, in this folder.

    pip install -e '.[bench]' && python docs/images/make.py

The photographs are scikit-image's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import skimage.data

import dataflow as df
from dataflow import imgaug
from dataflow.image.sheet import contact_sheet

HERE = Path(__file__).parent
SIDE = 200


def bgr(image: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(image[:, :, ::-1])


def save(name: str, images: list[np.ndarray], titles: list[str], side: int = SIDE) -> None:
    sheet = contact_sheet(images, titles, columns=len(images), size=side)
    cv2.imwrite(str(HERE / name), sheet, [cv2.IMWRITE_JPEG_QUALITY, 90])


def alpha() -> None:
    """A black logo on nothing."""
    logo = np.zeros((160, 160, 4), np.uint8)
    cv2.circle(logo, (80, 80), 60, (20, 20, 20, 255), -1, cv2.LINE_AA)
    cv2.putText(
        logo, "df", (46, 98), cv2.FONT_HERSHEY_DUPLEX, 2, (40, 170, 250, 255), 3, cv2.LINE_AA
    )
    data = cv2.imencode(".png", logo)[1].tobytes()
    options: list[dict[str, Any]] = [{}, {"alpha": "white"}, {"alpha": (80, 160, 60)}]
    images = [df.decode_image(data, **one) for one in options]
    save("alpha.jpg", images, ["drop", "white", "(80, 160, 60)"])


def exif() -> None:
    """A photograph that a camera stored on its side."""
    from PIL import Image

    tags = Image.Exif()
    tags[274] = 6
    path = HERE / "turned.part.jpg"
    lying = np.rot90(skimage.data.chelsea())
    Image.fromarray(np.ascontiguousarray(lying)).save(path, exif=tags)
    data = path.read_bytes()
    path.unlink()
    images = [df.decode_image(data), df.decode_image(data, exif=False)]
    save("exif.jpg", images, ["exif=True", "exif=False"])


def enough() -> None:
    """Fine texture, to a fifth of its size: what bilinear scaling skips, decoding has averaged."""
    from sklearn.datasets import load_sample_image

    photo = bgr(load_sample_image("china.jpg"))
    photo = cv2.resize(photo, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    path = HERE / "china.part.jpg"
    cv2.imwrite(str(path), photo, [cv2.IMWRITE_JPEG_QUALITY, 92])
    small = [imgaug.CenterCrop(800), imgaug.Resize(150)]
    area = [imgaug.CenterCrop(800), imgaug.Resize(150, cv2.INTER_AREA)]
    images = []
    for decode, augmentors in (("full", small), ("enough", small), ("full", area)):
        source = df.dataset.FileImages(decode=decode)  # type: ignore[arg-type]
        source.datapoints = [[str(path)]]
        ((image,),) = df.AugmentImageComponent(source, augmentors)
        part = image[25:100, 25:100]
        images.append(cv2.resize(part, None, fx=4, fy=4, interpolation=cv2.INTER_NEAREST))
    path.unlink()
    save("enough.jpg", images, ["full, bilinear", "enough, bilinear", "full, INTER_AREA"], 300)


def sample() -> None:
    """A mask, a box and points through the same augmentors."""
    image = bgr(skimage.data.astronaut())[:360, 60:420]
    mask = np.zeros(image.shape[:2], np.uint8)
    cv2.ellipse(mask, (165, 120), (60, 85), 0, 0, 360, 2, -1)
    datapoint = {
        "image": image,
        "mask": mask,
        "boxes": np.array([[105, 35, 225, 205]], np.float32),
        "points": np.array([[140, 105], [188, 104], [163, 135]], np.float32),
    }
    chains: dict[str, list[Any]] = {
        "as it was": [],
        "Rotation(30)": [imgaug.Rotation(30)],
        "Flip, Affine": [
            imgaug.Flip(horiz=True, prob=1.0),
            imgaug.Affine(shear=20, scale=(0.7, 0.9)),
        ],
        "Crop, Saturation": [imgaug.RandomCrop(250), imgaug.Saturation(0.9)],
    }
    images = []
    for augmentors in chains.values():
        ds = df.AugmentSample(
            df.DataFromList([datapoint]), augmentors, "image", "mask", "boxes", "points"
        )
        ds.seed(5)
        (result,) = ds
        images.append(overlaid(result))
    save("sample.jpg", images, list(chains), 260)


def overlaid(result: dict[str, Any]) -> np.ndarray:
    image = result["image"].copy()
    tint = image.copy()
    tint[result["mask"] == 2] = (60, 200, 60)
    image = cv2.addWeighted(image, 0.65, tint, 0.35, 0)
    for x0, y0, x1, y1 in result["boxes"].astype(int).tolist():
        cv2.rectangle(image, (x0, y0), (x1 - 1, y1 - 1), (40, 120, 255), 2)
    for x, y in result["points"].astype(int).tolist():
        cv2.circle(image, (x, y), 5, (255, 80, 60), -1, cv2.LINE_AA)
    return image


if __name__ == "__main__":
    for picture in (alpha, exif, enough, sample):
        picture()
