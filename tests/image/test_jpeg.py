"""The native decoder gives what OpenCV gives, of every part at every scale; no file harms it."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dataflow.errors import DecodeError
from dataflow.image import decode_image, jpeg
from dataflow.image.jpeg import Part, decode_part

pytestmark = pytest.mark.skipif(not jpeg.is_native(), reason=f"no native decoder: {jpeg.MISSING}")

REDUCED = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}
SAMPLING = [
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422,
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR_411,
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR_440,
]


def opencv(data: bytes, denominator: int) -> np.ndarray:
    image: Any = cv2.imdecode(np.frombuffer(data, np.uint8), REDUCED[denominator])
    return image


@st.composite
def jpegs(draw: st.DrawFn) -> tuple[bytes, tuple[int, int]]:
    height, width = draw(st.integers(1, 90)), draw(st.integers(1, 90))
    seed = draw(st.integers(0, 99))
    coarse = np.random.default_rng(seed).integers(
        0, 256, (height // 3 + 1, width // 3 + 1, 3), np.uint8
    )
    image = cv2.resize(coarse, (width, height))
    if draw(st.booleans()):
        image = image[:, :, 0]
    options = [
        *(cv2.IMWRITE_JPEG_QUALITY, draw(st.integers(20, 100))),
        *(cv2.IMWRITE_JPEG_PROGRESSIVE, draw(st.integers(0, 1))),
        *(cv2.IMWRITE_JPEG_RST_INTERVAL, draw(st.sampled_from([0, 1, 5]))),
        *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, draw(st.sampled_from(SAMPLING))),
    ]
    return cv2.imencode(".jpg", image, options)[1].tobytes(), (height, width)


@given(jpegs(), st.sampled_from([1, 2, 4, 8]), st.data())
@settings(max_examples=120, deadline=None)
def test_every_part_is_the_whole_image_s(
    made: tuple[bytes, tuple[int, int]], denominator: int, data: st.DataObject
) -> None:
    body, size = made
    whole = opencv(body, denominator)
    height, width = whole.shape[:2]
    top, left = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    rows, columns = data.draw(st.integers(1, height - top)), data.draw(st.integers(1, width - left))
    found = decode_part(body, size, "bgr", Part(top, left, rows, columns), denominator)
    assert found is not None and found[1] == ""
    np.testing.assert_array_equal(found[0], whole[top : top + rows, left : left + columns])


def test_orders_of_channels(cat: np.ndarray) -> None:
    body = cv2.imencode(".jpg", cat)[1].tobytes()
    found = {}
    for mode in ("bgr", "rgb", "grey"):
        result = decode_part(body, cat.shape[:2], mode)
        assert result is not None
        found[mode] = result[0]
    np.testing.assert_array_equal(found["rgb"], found["bgr"][:, :, ::-1])
    grey: Any = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_GRAYSCALE)
    np.testing.assert_array_equal(found["grey"], grey)
    for other in (bytearray(body), memoryview(body), np.frombuffer(body, np.uint8)):
        result = decode_part(other, cat.shape[:2])
        assert result is not None
        np.testing.assert_array_equal(result[0], found["bgr"])


def test_what_is_left_to_others(cat: np.ndarray) -> None:
    """CMYK, files that say another size than their header was read as, parts beyond the image."""
    file = io.BytesIO()
    Image.fromarray(cat).convert("CMYK").save(file, "JPEG")
    assert decode_part(file.getvalue(), cat.shape[:2]) is None
    assert decode_image(file.getvalue()).shape == cat.shape  # by OpenCV
    body = cv2.imencode(".jpg", cat)[1].tobytes()
    height, width = cat.shape[:2]
    assert decode_part(body, (height + 1, width)) is None
    for part in ((0, 0, height + 1, 1), (-1, 0, 1, 1), (0, width, 1, 1), (0, 0, 0, 1)):
        assert decode_part(body, (height, width), "bgr", Part(*part)) is None


def test_damage_is_told(cat: np.ndarray, capfd: pytest.CaptureFixture[str]) -> None:
    body = cv2.imencode(".jpg", cat)[1].tobytes()
    short = body[: len(body) // 3] + b"\xff\xd9"
    with pytest.raises(
        DecodeError, match="a damaged JPEG: Corrupt JPEG data: premature end"
    ) as info:
        decode_image(short, url="http://host/x.jpg")
    assert info.value.reason == "corrupt" and "http://host/x.jpg" in str(info.value)
    kept = decode_image(short, lenient=True)
    whole = decode_image(body)
    assert kept.shape == whole.shape
    np.testing.assert_array_equal(kept[:60], whole[:60])
    assert (kept[-10:].std(axis=(0, 1)) < 1).all()  # where there was no data
    cut = body[: len(body) // 2]
    with pytest.raises(DecodeError, match="without its end"):
        decode_image(cut)
    np.testing.assert_array_equal(decode_image(cut, lenient=True)[:60], whole[:60])
    with pytest.raises(DecodeError, match="a JPEG that cannot be decoded: "):
        decode_image(body.replace(b"\xff\xdb", b"\xff\xfe"))  # no tables to multiply by
    assert capfd.readouterr() == ("", "")


def test_unused_bytes_are_no_damage(cat: np.ndarray) -> None:
    body = cv2.imencode(".jpg", cat)[1].tobytes()
    padded = body[:-2] + b"unused" + body[-2:]
    np.testing.assert_array_equal(decode_image(padded), decode_image(body))


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_no_file_does_harm(data: st.DataObject) -> None:
    """Changed at will: there are pixels, or an exception of ours."""
    body, size = data.draw(jpegs())
    changed = bytearray(body)
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(2, len(changed) - 1))
        match data.draw(st.integers(0, 2)):
            case 0:
                changed[at] = data.draw(st.integers(0, 255))
            case 1:
                del changed[at : at + data.draw(st.integers(1, 40))]
            case _:
                changed[at:at] = data.draw(st.binary(max_size=20))
        if len(changed) < 4:
            break
    for denominator in (1, 8):
        try:
            found = decode_part(bytes(changed), size, "bgr", None, denominator)
        except jpeg.Broken as error:
            assert str(error)
        else:
            assert found is None or found[0].shape[2] == 3


def test_threads_run_meanwhile(cat: np.ndarray) -> None:
    """Several threads decode different images at once, and each gets its own."""
    from concurrent.futures import ThreadPoolExecutor

    bodies = [cv2.imencode(".jpg", np.roll(cat, 7 * i, 1))[1].tobytes() for i in range(16)]
    wanted = [opencv(body, 1) for body in bodies]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(decode_image, bodies * 4))
    for at, image in enumerate(found):
        np.testing.assert_array_equal(image, wanted[at % 16])


def test_it_can_be_turned_off(tmp_path: Any, cat: np.ndarray) -> None:
    path = tmp_path / "cat.jpg"
    cv2.imwrite(str(path), cat)
    code = (
        "import sys, hashlib; from dataflow.image import jpeg, decode_image; "
        "pixels = decode_image(open(sys.argv[1], 'rb').read()); "
        "print(jpeg.is_native(), hashlib.sha256(pixels.tobytes()).hexdigest(), jpeg.MISSING)"
    )
    said = []
    for native in ("1", "0"):
        environment = os.environ | {"DATAFLOW_NATIVE": native}
        command = [sys.executable, "-c", code, str(path)]
        output = subprocess.run(command, env=environment, capture_output=True, check=True).stdout
        said.append(output.decode().split(maxsplit=2))
    assert [one[0] for one in said] == ["True", "False"]
    assert said[0][1] == said[1][1]
    assert "DATAFLOW_NATIVE=0" in said[1][2]
