"""Photo-like JPEGs, drawn: what the demo downloads where there is no network.

Benchmarks with flat or random pixels mislead: a JPEG's decoding time follows its bytes, and its
bytes follow its texture and edges. These have the sizes and the weight of ImageNet's, the spectrum
of natural images (`textures`), and edges from the "dead leaves" model: things of power-law sizes
that hide each other (Lee, Mumford and Huang, "Occlusion models for natural images", IJCV 41, 2001).
A lens adds depth: far layers are out of focus, near ones throw soft shadows.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from dataflow.demo.scenes import SCENES, VARIANTS, Scene, bgr, label_of, shapes
from dataflow.demo.textures import Image, coloured, grain, patch

__all__ = ["draw_photo"]

Bytes: TypeAlias = npt.NDArray[np.uint8]
Vector: TypeAlias = npt.NDArray[np.float64]

# Width, height and share: ImageNet's training images, to the nearest percent.
SIZES = (
    (500, 375, 0.57), (375, 500, 0.17), (500, 333, 0.10), (333, 500, 0.05), (500, 500, 0.03),
    (500, 400, 0.02), (400, 300, 0.02), (640, 480, 0.02), (300, 225, 0.01), (800, 600, 0.01),
)  # fmt: skip


class Layer(NamedTuple):
    """Things at one distance. Lengths are in shares of the picture's diagonal.

    Attributes:
        things: how many are thrown.
        smallest: their smallest radius; the sizes fall off as radius to the power of -3.
        largest: their largest radius.
        blur: standard deviation of the lens's blur.
        texture: contrast of the surfaces.
        scale: how small the layer may be drawn, since the blur hides it.
    """

    things: int
    smallest: float
    largest: float
    blur: float
    texture: float
    scale: float


LAYERS = (
    Layer(things=45, smallest=0.03, largest=0.12, blur=0.008, texture=0.15, scale=0.25),
    Layer(things=60, smallest=0.02, largest=0.16, blur=0.0015, texture=0.26, scale=1),
    Layer(things=26, smallest=0.025, largest=0.2, blur=0.0009, texture=0.28, scale=1),
)

BODY = 8  # nested copies that make one large thing
SHIFT = 4  # binary places of sub-pixel coordinates in OpenCV's drawing functions


def draw_photo(index: int, *, size: tuple[int, int] | None = None) -> bytes:
    """Draw one photo.

    Args:
        index: which one; the same index gives the same photo.
        size: width and height in pixels; ImageNet's mix of sizes where it is None.

    Returns:
        A JPEG of quality 90 to 96, 4:2:0; about 100 kB on average.
    """
    if index < 0:
        raise ValueError(f"index={index!r} must not be negative")
    rng = np.random.default_rng([2001, index])
    if size is None:
        kind = rng.choice(len(SIZES), p=[share for _, _, share in SIZES])
        size = SIZES[kind][:2]
    picture = _expose(rng, _scene(rng, SCENES[label_of(index)], *size))
    quality = int(rng.integers(91, 97))
    options = [cv2.IMWRITE_JPEG_QUALITY, quality]
    options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420]
    ok, encoded = cv2.imencode(".jpg", picture, options)
    if not ok:
        raise RuntimeError("OpenCV cannot write JPEG")
    return encoded.tobytes()


def _scene(rng: np.random.Generator, scene: Scene, width: int, height: int) -> Image:
    """The scene before the camera, H×W×3 BGR, about 0 to 255."""
    picture = _backdrop(rng, scene, width, height)
    light = float(rng.uniform(0, 2 * np.pi))
    toward = complex(np.cos(light), -abs(np.sin(light)) - 0.3)  # from above, mostly
    toward /= abs(toward)
    crowd = rng.uniform(0.6, 1.3)
    for layer in LAYERS:
        things = _layer(rng, scene, layer, width, height, toward, crowd)
        cover = cv2.extractChannel(things, 3) * np.float32(1 / 255)
        left = _shadow(cover, toward) * (1 - cover)
        picture = _multiply(picture, cv2.merge([left, left, left]))
        picture += np.asarray(cv2.cvtColor(things, cv2.COLOR_BGRA2BGR), np.float32)
    return picture


def _backdrop(rng: np.random.Generator, scene: Scene, width: int, height: int) -> Image:
    """A gradient with large soft spots: what is far out of focus. Drawn small, then enlarged."""
    top, bottom = (bgr(colour) for colour in scene.backdrop)
    h, w = height // 4, width // 4
    ramp = np.linspace(0, 1, h, dtype=np.float32)[:, None, None] ** rng.uniform(0.6, 1.6)
    small = top * (1 - ramp) + bottom * ramp + coloured(rng, h, w) * 26
    small = _blur(small.astype(np.float32), 1.5)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC), np.float32)


def _layer(
    rng: np.random.Generator,
    scene: Scene,
    layer: Layer,
    width: int,
    height: int,
    toward: complex,
    crowd: float,
) -> Image:
    """One layer through the lens, H×W×4.

    Colours are premultiplied by the cover (channel 3), as drawing on black leaves them: it makes
    the blur right at the edges.
    """
    w, h = round(width * layer.scale), round(height * layer.scale)
    paint, surface = _throw(rng, scene, layer, w, h, toward, crowd)
    bright = _surface(rng, surface, layer.texture)
    things = _multiply(paint, cv2.merge([bright, bright, bright, np.ones_like(bright)]))
    sigma = layer.blur * float(np.hypot(w, h))
    things = _blur(things, sigma)
    if layer.scale != 1:
        things = np.asarray(cv2.resize(things, (width, height)), np.float32)
    return things


def _throw(
    rng: np.random.Generator,
    scene: Scene,
    layer: Layer,
    width: int,
    height: int,
    toward: complex,
    crowd: float,
) -> tuple[Bytes, Bytes]:
    """Throw the things of one layer, one upon the other.

    Returns:
        Their colours and cover, H×W×4, and the weights of three textures on them, H×W×3.
    """
    diagonal = float(np.hypot(width, height))
    radius = _power_law(rng, layer, max(4, round(layer.things * crowd))) * diagonal
    count = len(radius)
    # Complex numbers turn, scale and move outlines in one expression.
    outlines = shapes(scene)[rng.integers(VARIANTS, size=count)]
    outlines = outlines * (radius * np.exp(1j * rng.uniform(0, 2 * np.pi, count)))[:, None]
    centre = rng.uniform(-0.05, 1.05, count) * width + 1j * rng.uniform(-0.05, 1.05, count) * height

    palette = np.array([bgr(colour) for colour in scene.colours])
    colour = palette[rng.integers(len(palette), size=count)]
    colour = colour * rng.uniform(0.8, 1.2, (count, 1)) + rng.normal(0, 7, (count, 3))
    # A few nested copies, lighter towards the light, read as one rounded body.
    steps = np.clip(radius / 6, 2, BODY).astype(int)
    t = np.minimum(np.arange(BODY) / steps[:, None], 1)
    copies = outlines[:, None] * (1 - 0.9 * t)[..., None]
    copies += (centre[:, None] + toward * 0.4 * radius[:, None] * t)[..., None]
    shades = np.full((count, BODY, 4), 255.0)
    shades[..., :3] = np.clip(colour[:, None] * (0.66 + 0.62 * t)[..., None], 0, 255)
    weights = rng.dirichlet((0.5, 0.5, 0.5), count) * 255

    paint = np.zeros((height, width, 4), np.uint8)
    surface = np.zeros((height, width, 3), np.uint8)
    fixed = np.rint(copies.view(np.float64).reshape(count, BODY, -1, 2) * (1 << SHIFT))
    drawing = zip(fixed.astype(np.int32), shades.tolist(), weights.tolist(), steps, strict=True)
    for points, colours, weight, last in drawing:
        cv2.fillPoly(surface, [points[0]], weight, cv2.LINE_AA, SHIFT)
        for step in range(last):
            cv2.fillPoly(paint, [points[step]], colours[step], cv2.LINE_AA, SHIFT)
    return paint, surface


def _power_law(rng: np.random.Generator, layer: Layer, count: int) -> Vector:
    """Radii whose density falls as radius to the power of -3, large ones first (they lie below)."""
    low, high = layer.smallest**-2, layer.largest**-2
    radii: Vector = np.sort(rng.uniform(high, low, count) ** -0.5)[::-1]
    # Mostly sorted only: now and then a large thing covers small ones.
    swap = rng.integers(count, size=(count // 5, 2))
    radii[swap[:, 0]], radii[swap[:, 1]] = radii[swap[:, 1]], radii[swap[:, 0]].copy()
    return radii


def _surface(rng: np.random.Generator, weights: Bytes, contrast: float) -> Image:
    """The relative brightness of textured surfaces, H×W, about 1."""
    textures = cv2.merge([patch(rng, *weights.shape[:2]) for _ in range(3)])
    mixed = _multiply(weights, textures)
    gains = np.array([[contrast / 255] * 3 + [1]], np.float32)
    return np.asarray(cv2.transform(mixed, gains), np.float32)


def _shadow(cover: Image, toward: complex) -> Image:
    """How much light is left under things of this cover, H×W: soft, and away from the light."""
    small = cv2.resize(cover, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    reach = float(np.hypot(*small.shape))
    small = cv2.GaussianBlur(small, (0, 0), 0.012 * reach)
    away = -toward * 0.02 * reach
    move = np.array([[1, 0, away.real], [0, 1, away.imag]])
    moved = cv2.warpAffine(small, move, small.shape[::-1], borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(1 - 0.6 * cv2.resize(moved, cover.shape[::-1]), np.float32)


def _expose(rng: np.random.Generator, picture: Image) -> Bytes:
    """What the camera makes of it: texture in the air, vignette, noise, 8 bits."""
    height, width = picture.shape[:2]
    picture += coloured(rng, height, width) * np.float32(rng.uniform(7, 14))
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    gain = np.float32(rng.uniform(1, 1.25)) * (
        1 - np.float32(rng.uniform(0.08, 0.2)) * (x * x + y * y)
    )
    noise = grain(rng, height, width) * np.float32(rng.uniform(2, 5.5))
    picture = _multiply(picture, cv2.merge([gain, gain, gain]))
    picture += cv2.merge([noise, noise, noise])
    np.maximum(picture, 0, out=picture)
    return np.asarray(cv2.convertScaleAbs(picture), np.uint8)


def _multiply(left: npt.NDArray[Any], right: npt.NDArray[Any]) -> Image:
    # NumPy is several times slower on arrays of three channels.
    return np.asarray(cv2.multiply(left, right, dtype=cv2.CV_32F), np.float32)


def _blur(image: Image, sigma: float) -> Image:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.float32)
