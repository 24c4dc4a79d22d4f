"""Augmentors: random changes to images, for training.

An augmentor draws the parameters of a change and makes a `Transform` of them; the transform does
the change, on the image and on what belongs to it, such as coordinates::

    augmentors = imgaug.AugmentorList([
        imgaug.GoogleNetRandomCropAndResize(),
        imgaug.RandomOrderAug([
            imgaug.BrightnessScale((0.6, 1.4)),
            imgaug.Contrast((0.6, 1.4), rgb=False),
            imgaug.Saturation(0.4, rgb=False),
        ]),
        imgaug.Flip(horiz=True),
    ])
    image = augmentors.augment(image)

Images are arrays of H×W or H×W×C. Sizes are one int or (height, width). No augmentor here writes
into its input; the result may be the input itself or a view of it, where there was nothing to do.
Integer results are rounded to the nearest integer.

Types and ranges. What moves pixels (crops, flips, scaling, rotations, pasting and so on) takes any
number of channels, values in any range, and uint8, uint16, bool and floats at least. What changes
their values takes uint8 in [0, 255] and floats of 16 to 64 bits, which as in tensorpack are in
[0, 255] too. Images in another range need to be said, once for a list::

    augmentors = imgaug.InRange([imgaug.Flip(horiz=True), imgaug.Brightness(40)], 1)

takes floats in [0, 1] (and uint16 with 65535 instead of 1). All arguments of augmentors go on
counting in [0, 255], so these add up to 40 / 255. Each says in its documentation what it takes,
and raises TypeError or ValueError for the rest. Floats in [0, 1] outside of `InRange` are a
RuntimeWarning, once, where that makes a difference: a dark image in [0, 255] looks just the same.

The names and arguments are those of ``tensorpack.dataflow.imgaug``.

Random numbers. Inside a dataflow they belong to the datapoint, see `dataflow.randomness`. Each
augmentor in a list has a stream of its own, so what one draws never moves another's numbers. What
each draws, and in which order, is part of what a seed fixes, and is said in its docstring: a
change there changes everybody's runs.
"""

from dataflow.imgaug import deform
from dataflow.imgaug.augmentor import Augmentor, ImageAugmentor, PhotometricAugmentor
from dataflow.imgaug.chain import AugmentorList, MapImage
from dataflow.imgaug.choice import (
    Identity,
    RandomApplyAug,
    RandomChooseAug,
    RandomOrderAug,
)
from dataflow.imgaug.colour import (
    Brightness,
    BrightnessScale,
    Contrast,
    Hue,
    Lighting,
    Saturation,
)
from dataflow.imgaug.convert import ColorSpace, Grayscale, ToFloat32, ToUint8
from dataflow.imgaug.crop import (
    CenterCrop,
    GoogleNetRandomCropAndResize,
    RandomCrop,
    RandomCropRandomShape,
    RandomCutout,
)
from dataflow.imgaug.external import Albumentations, IAAugmentor
from dataflow.imgaug.flip import Flip, Transpose
from dataflow.imgaug.geometry import Affine, Rotation, RotationAndCropValid, Shift
from dataflow.imgaug.levels import Clip, Gamma, MeanVarianceNormalize, MinMaxNormalize
from dataflow.imgaug.noise import GaussianBlur, GaussianNoise, JpegNoise, SaltPepperNoise
from dataflow.imgaug.paste import (
    BackgroundFiller,
    CenterPaste,
    ConstantBackgroundFiller,
    RandomPaste,
)
from dataflow.imgaug.ranges import InRange
from dataflow.imgaug.resize import RandomResize, Resize, ResizeShortestEdge
from dataflow.imgaug.transforms import (
    CropTransform,
    FlipTransform,
    NoOpTransform,
    PhotometricTransform,
    ResizeTransform,
    Transform,
    TransformFactory,
    TransformList,
    TransposeTransform,
    WarpAffineTransform,
)

__all__ = [
    "Affine",
    "Albumentations",
    "Augmentor",
    "AugmentorList",
    "BackgroundFiller",
    "Brightness",
    "BrightnessScale",
    "CenterCrop",
    "CenterPaste",
    "Clip",
    "ColorSpace",
    "ConstantBackgroundFiller",
    "Contrast",
    "CropTransform",
    "Flip",
    "FlipTransform",
    "Gamma",
    "GaussianBlur",
    "GaussianNoise",
    "GoogleNetRandomCropAndResize",
    "Grayscale",
    "Hue",
    "IAAugmentor",
    "Identity",
    "ImageAugmentor",
    "InRange",
    "JpegNoise",
    "Lighting",
    "MapImage",
    "MeanVarianceNormalize",
    "MinMaxNormalize",
    "NoOpTransform",
    "PhotometricAugmentor",
    "PhotometricTransform",
    "RandomApplyAug",
    "RandomChooseAug",
    "RandomCrop",
    "RandomCropRandomShape",
    "RandomCutout",
    "RandomOrderAug",
    "RandomPaste",
    "RandomResize",
    "Resize",
    "ResizeShortestEdge",
    "ResizeTransform",
    "Rotation",
    "RotationAndCropValid",
    "SaltPepperNoise",
    "Saturation",
    "Shift",
    "ToFloat32",
    "ToUint8",
    "Transform",
    "TransformFactory",
    "TransformList",
    "Transpose",
    "TransposeTransform",
    "WarpAffineTransform",
    "deform",
]
