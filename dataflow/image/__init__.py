"""Images: decoding, augmenting, looking at them."""

from dataflow.image.augment import AugmentImageComponent
from dataflow.image.decode import check_image, decode_image, image_size, register
from dataflow.image.from_file import ImageFromFile
from dataflow.image.sample import AugmentImageBoxes, AugmentSample
from dataflow.image.sheet import contact_sheet
from dataflow.image.tensor import to_tensor
from dataflow.image.together import AugmentImageComponents, AugmentImageCoordinates
from dataflow.image.view import Viewer

__all__ = [
    "AugmentImageBoxes",
    "AugmentImageComponent",
    "AugmentImageComponents",
    "AugmentImageCoordinates",
    "AugmentSample",
    "ImageFromFile",
    "Viewer",
    "check_image",
    "contact_sheet",
    "decode_image",
    "image_size",
    "register",
    "to_tensor",
]
