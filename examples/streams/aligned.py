"""Image, mask and key points under one random view, the first of them as a picture, aligned.png.

python examples/streams/aligned.py
"""

import argparse

import cv2
import numpy as np

from dataflow import stream as st
from dataflow.image.sheet import contact_sheet

LEAF = [[60, 8], [92, 34], [98, 66], [78, 96], [60, 112], [42, 96], [22, 66], [28, 34]]


@st.stream
def leaves(size):
    corners = st.points(LEAF)
    mask = st.polygon_mask(corners, 120, 120)
    back, leaf = (st.constant(np.full((120, 120, 3), bgr, np.uint8)) for bgr in BGR)
    image = st.noise(st.minimum(back, 255 - mask) + st.minimum(leaf, mask), 0.05)

    turn = st.affine_view(angle=st.uniform(-3.1, 3.1), sx=st.uniform(0.5, 1.5))
    middle = st.translate(size / 2 + st.normal(0, 6), size / 2 + st.normal(0, 6))
    view = st.chain(middle, turn, st.center_view(st.bounds(corners)))
    return st.view([image, mask, corners], view, size, size, border="reflect")


def shown(image, mask, points):
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(image, outlines, -1, (255, 255, 255), 1)
    for x, y in points - 0.5:
        cv2.circle(image, (round(x), round(y)), 3, (0, 0, 255), -1)
    return image


BGR = (150, 120, 90), (70, 160, 60)
argparse.ArgumentParser(description="Show views of an image with mask and points.").parse_args()
samples = leaves(128).seed(1).take(24)
contact_sheet([shown(*sample) for sample in samples], columns=8, path="aligned.png")
