"""What is wanted of an image file, and files that are not quite as they should be."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import cv2
import numpy as np
import pytest
from optional import library
from PIL import Image

import dataflow as df
from dataflow.errors import ConfigError, DecodeError
from dataflow.image import check_image
from dataflow.image.decoding import Decoding
from dataflow.image.header import read_header


def saved(picture: Any, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    try:
        picture.save(file, kind, **options)
    except (OSError, KeyError) as error:
        pytest.skip(f"this Pillow writes no {kind}: {error}")
    return file.getvalue()


@pytest.fixture(scope="module")
def logo() -> np.ndarray:
    """RGBA: a red square that can be seen half, on nothing, which is black."""
    image = np.zeros((32, 32, 4), np.uint8)
    image[8:24, 8:24] = (200, 100, 50, 128)
    return image


LOSSLESS = {"PNG": {}, "TIFF": {}, "WEBP": {"lossless": True, "exact": True}}


@pytest.mark.parametrize("kind", LOSSLESS)
def test_transparency(logo: np.ndarray, kind: str) -> None:
    data = saved(Image.fromarray(logo, "RGBA"), kind, **LOSSLESS[kind])
    inside, outside = (16, 16), (0, 0)

    def at(place: tuple[int, int], **options: Any) -> list[int]:
        value: list[int] = df.decode_image(data, **options)[place].tolist()
        return value

    # A TIFF's colours come multiplied by the alpha, which loses a little.
    near = {"abs": 1 if kind == "TIFF" else 0}
    assert at(inside) == pytest.approx([50, 100, 200], **near)
    assert at(inside, mode="rgb") == pytest.approx([200, 100, 50], **near)
    assert at(inside, alpha="keep") == pytest.approx([50, 100, 200, 128], **near)
    assert at(inside, alpha="keep", mode="rgb") == pytest.approx([200, 100, 50, 128], **near)
    assert at(outside, alpha="keep")[3] == 0
    assert at(inside, mode="unchanged") == pytest.approx([50, 100, 200, 128], **near)
    assert at(outside, alpha="white") == [255, 255, 255]
    assert at(inside, alpha="white") == pytest.approx([152, 177, 227], abs=1)
    assert at(outside, alpha=(1, 2, 3)) == [1, 2, 3]
    assert at(outside, alpha=(1, 2, 3), mode="rgb") == [1, 2, 3]
    assert df.decode_image(data, alpha="white", mode="grey")[outside] == 255
    assert df.decode_image(data, mode="grey").shape == (32, 32)


def test_transparency_of_other_kinds(logo: np.ndarray, cat: np.ndarray) -> None:
    grey = saved(Image.new("LA", (4, 4), (100, 7)), "PNG")
    assert df.decode_image(grey, alpha="keep")[0, 0].tolist() == [100, 100, 100, 7]
    palette = saved(Image.fromarray(logo[..., :3]).quantize(4), "PNG", transparency=0)
    assert df.decode_image(palette, alpha="keep").shape == (32, 32, 4)
    for kind in (".jpg", ".png"):
        opaque = cv2.imencode(kind, cat)[1].tobytes()
        kept = df.decode_image(opaque, alpha="keep")
        assert (kept[..., 3] == 255).all()
        np.testing.assert_array_equal(kept[..., :3], df.decode_image(opaque))
        np.testing.assert_array_equal(df.decode_image(opaque, alpha="white"), kept[..., :3])


def test_unchanged(cat: np.ndarray) -> None:
    deep = cat.astype(np.uint16) * 257
    deep[0, 0] = (40000, 255, 256)
    for kind in (".png", ".tiff"):
        data = cv2.imencode(kind, deep)[1].tobytes()
        np.testing.assert_array_equal(df.decode_image(data, mode="unchanged"), deep)
        choices: tuple[dict[str, Any], ...] = ({}, {"alpha": "white"})
        for options in choices:  # rounded to one side or the other
            assert df.decode_image(data, **options)[0, 0].tolist() == pytest.approx(
                [156, 1, 1], abs=1
            )
            assert np.abs(df.decode_image(data, **options).astype(int) - (deep >> 8)).max() <= 1
    for kind in (".png", ".jpg"):
        data = cv2.imencode(kind, cat[:, :, 0])[1].tobytes()
        assert df.decode_image(data, mode="unchanged").shape == cat.shape[:2]
        data = cv2.imencode(kind, cat)[1].tobytes()
        np.testing.assert_array_equal(
            df.decode_image(data, mode="unchanged"), df.decode_image(data)
        )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"mode": "BGR"}, "mode='BGR' must be one of 'bgr', 'rgb', 'grey', 'unchanged'"),
        ({"alpha": "blue"}, 'alpha=\'blue\' must be "drop", "keep"'),
        ({"alpha": (1, 2)}, "three numbers from 0 to 255, in the order of mode='bgr'"),
        ({"alpha": (1, 2, 256)}, "three numbers"),
        ({"alpha": "keep", "mode": "grey"}, "does not go with mode='grey', which has one channel"),
        ({"alpha": "white", "mode": "unchanged"}, "which has alpha where the file has"),
        ({"max_pixels": -1}, "max_pixels=-1"),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as info:
        df.decode_image(b"", **options)
    assert said in str(info.value)
    with pytest.raises(ConfigError):
        Decoding(**options)


def test_data_sets_have_them(tmp_path: Any, logo: np.ndarray) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").write_bytes(saved(Image.fromarray(logo, "RGBA"), "PNG"))
    for options, value in (
        ({"alpha": "white"}, [255, 255, 255]),
        ({"alpha": "keep"}, [0, 0, 0, 0]),
        ({"mode": "rgb", "alpha": (9, 8, 7)}, [9, 8, 7]),
    ):
        ds: Any = df.dataset.ImageFolder(tmp_path, **options)
        for chain in (ds, df.PrefetchDataZMQ(ds, 2)):
            with chain:
                assert [image[0, 0].tolist() for image, _ in chain] == [value] * 2
    with pytest.raises(ConfigError, match="mode='hsv'"):
        list(df.dataset.ImageFolder(tmp_path, mode="hsv"))
    grey = df.ImageFromFile([tmp_path / "a" / "1.png"], channel=1, alpha="white")
    assert next(iter(grey))[0][0, 0, 0] == 255


# -- damage ----------------------------------------------------------------------------------------


def test_a_png_whose_sum_is_wrong(cat: np.ndarray, capfd: pytest.CaptureFixture[str]) -> None:
    data = bytearray(cv2.imencode(".png", cat)[1].tobytes())
    data[len(data) // 2] ^= 0x55
    with pytest.raises(DecodeError) as info:
        df.decode_image(bytes(data))
    assert info.value.reason == "corrupt"
    assert capfd.readouterr() == ("", "")


def test_a_gif_without_its_trailer(capfd: pytest.CaptureFixture[str]) -> None:
    frames = [Image.new("P", (20, 10), colour) for colour in (1, 2, 3)]
    data = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    for tail in (b"", b"\0", b"behind it"):
        check_image(data + tail)
        assert df.decode_image(data + tail).shape == (10, 20, 3)
    with pytest.raises(DecodeError, match="without its end") as info:
        check_image(data[:-1])
    assert info.value.reason == "truncated"
    with pytest.raises(DecodeError):
        df.decode_image(data[: len(data) // 2])
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("kind", ["webp", "tiff", "bmp", "avif", "gif", "png"])
def test_nothing_reaches_standard_error(
    kind: str, cat: np.ndarray, capfd: pytest.CaptureFixture[str]
) -> None:
    try:
        data = cv2.imencode(f".{kind}", cat)[1].tobytes()
    except cv2.error:
        pytest.skip(f"this OpenCV writes no {kind}")
    for at in (0.2, 0.5, 0.8):
        place = int(len(data) * at)
        for changed in (data[:place], data[:place] + bytes(40) + data[place + 40 :]):
            try:
                df.decode_image(changed, lenient=kind != "png")
            except DecodeError as error:
                assert str(error)
    assert capfd.readouterr().err == ""


# -- formats that need somebody -------------------------------------------------------------------

HEIC = (
    struct.pack(">I", 24) + b"ftypheic\0\0\0\0mif1heic"
    + struct.pack(">I", 20) + b"ispe\0\0\0\0" + struct.pack(">II", 30, 20)
)  # fmt: skip
JXL = b"\xff\x0a" + bytes(20)


@pytest.mark.parametrize(
    ("data", "name", "word", "package"),
    [(HEIC, "HEIC", "heic", "pillow-heif"), (JXL, "JPEG XL", "xl", "pillow-jxl-plugin")],
)
def test_formats_that_opencv_lacks(data: bytes, name: str, word: str, package: str) -> None:
    with pytest.raises(DecodeError) as info:
        df.decode_image(data, url="x")
    assert info.value.reason == "unsupported"
    assert name in str(info.value) and f"pip install {package}" in str(info.value)
    assert f'register("{word}"' in str(info.value)


def plain_red(data: bytes) -> np.ndarray:
    return np.full((20, 30, 3), (0, 0, len(data)), np.uint8)


@pytest.fixture
def heic() -> Any:
    df.image.register("heic", plain_red)
    yield
    df.image.register("heic", None)


def test_an_own_decoder(heic: None, tmp_path: Any) -> None:
    assert df.decode_image(HEIC)[0, 0].tolist() == [0, 0, len(HEIC)]
    assert df.decode_image(HEIC, mode="rgb")[0, 0].tolist() == [len(HEIC), 0, 0]
    assert df.decode_image(HEIC, alpha="keep").shape == (20, 30, 4)
    with pytest.raises(DecodeError, match=r"20.30 pixels"):
        df.decode_image(HEIC, max_pixels=599)
    path = tmp_path / "a.heic"
    path.write_bytes(HEIC)
    source = df.dataset.FileImages(on_error="raise")
    source.datapoints = [[str(path), 1]] * 3
    with df.PrefetchDataZMQ(source, 2) as ds:  # the workers know it, too
        assert [image.shape for image, _ in ds] == [(20, 30, 3)] * 3


def test_an_own_decoder_that_fails() -> None:
    def wrong(data: bytes) -> Any:
        raise OSError("no such codec")

    df.image.register("jxl", wrong)
    try:
        with pytest.raises(DecodeError, match="the decoder for JPEG XL failed: OSError: no such"):
            df.decode_image(JXL)
        df.image.register("jxl", lambda data: np.zeros(3))
        with pytest.raises(TypeError, match=r"shape \(3,\) and dtype float64: it must be H×W"):
            df.decode_image(JXL)
    finally:
        df.image.register("jxl", None)
    with pytest.raises(ConfigError, match="no format of images that is known here: avif, "):
        df.image.register("doc", wrong)
    with pytest.raises(ConfigError, match="must be a function"):
        df.image.register("heic", 3)  # type: ignore[arg-type]


def test_jpeg_2000(cat: np.ndarray) -> None:
    if not cv2.haveImageWriter(".jp2"):
        pytest.skip("this OpenCV has no JPEG 2000")
    data = cv2.imencode(".jp2", cat)[1].tobytes()
    header = read_header(data)
    assert header is not None and header[:3] == ("JPEG 2000", cat.shape[:2], None)
    pixels = df.decode_image(data)
    assert np.abs(pixels.astype(int) - cat).mean() < 4
    with pytest.raises(DecodeError, match="without its end"):
        df.decode_image(data[:-50])
    at = data.index(b"\xff\x4f\xff\x51")
    np.testing.assert_array_equal(df.decode_image(data[at:]), pixels)


def test_an_own_map_func_decode_gets_any_bytes(tmp_path: Any) -> None:
    from servers import Server, ok

    class Own(df.dataset.NetworkImages):
        @staticmethod
        def map_func_decode(datapoint: Any) -> Any:
            return [datapoint[0].decode(), *datapoint[1:]]

    with Server() as server:
        server.routes["/x"] = ok(b"no image at all")
        with Own() as ds:
            ds.datapoints = [[server.url("/x"), 7]]
            assert list(ds) == [["no image at all", 7]]


def test_against_pillow_heif(tmp_path: Any) -> None:
    """A real HEIC, by the package that the message names."""
    heif = library("pillow_heif")
    heif.register_heif_opener()
    data = saved(Image.new("RGB", (30, 20), (200, 10, 10)), "HEIF")
    with pytest.raises(DecodeError, match="a HEIC"):
        df.decode_image(data)
    df.image.register(
        "heic", lambda body: np.asarray(Image.open(io.BytesIO(body)).convert("RGB"))[:, :, ::-1]
    )
    try:
        assert np.abs(df.decode_image(data)[0, 0].astype(int) - (10, 10, 200)).max() < 12
    finally:
        df.image.register("heic", None)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_a_grey_that_is_transparent(bits: int) -> None:
    """Which OpenCV leaves out, of grey PNGs."""
    most = (1 << bits) - 1
    clear = most // 2
    row = (
        bytes([(clear << (8 - bits)) | (most << (8 - 2 * bits))]) if bits < 8 else bytes([127, 255])
    )
    data = png(2, 1, bits, row, clear)
    grey = clear * (255 // most)
    kept = df.decode_image(data, alpha="keep")
    assert kept.tolist() == [[[grey, grey, grey, 0], [255, 255, 255, 255]]]
    assert df.decode_image(data, mode="unchanged").tolist() == kept.tolist()
    assert df.decode_image(data, alpha=(1, 2, 3))[0].tolist() == [[1, 2, 3], [255, 255, 255]]
    assert df.decode_image(data)[0, 0].tolist() == [grey] * 3
    assert df.decode_image(data, mode="grey").shape == (1, 2)


def png(width: int, height: int, bits: int, row: bytes, clear: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + check

    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)),
            chunk(b"tRNS", struct.pack(">H", clear)),
            chunk(b"IDAT", zlib.compress(b"\0" + row)),
            chunk(b"IEND", b""),
        ]
    )


def test_tiffs_of_which_opencv_tells_less(logo: np.ndarray) -> None:
    grey = saved(Image.fromarray(logo, "RGBA").convert("LA"), "TIFF")
    assert df.decode_image(grey).shape == (32, 32, 3)
    with pytest.raises(DecodeError, match="grey with transparency") as caught:
        df.decode_image(grey, alpha="white")
    assert caught.value.reason == "unsupported"
    inks = saved(Image.fromarray(logo[:, :, :3], "RGB").convert("CMYK"), "TIFF")
    assert df.decode_image(inks, mode="unchanged").shape == (32, 32, 3)
    floats = saved(Image.fromarray(logo[:, :, 0].astype(np.float32)), "TIFF")
    assert df.decode_image(floats, mode="unchanged").dtype == np.float32
    for options in ({}, {"alpha": "white"}, {"alpha": "keep"}):
        with pytest.raises(DecodeError):
            df.decode_image(floats, **options)


def test_bytes_in_other_forms(logo: np.ndarray) -> None:
    data = saved(Image.fromarray(logo[:, :, :3], "RGB"), "PNG")
    wanted = df.decode_image(data)
    for other in (bytearray(data), memoryview(data), np.frombuffer(data, np.uint8)):
        np.testing.assert_array_equal(df.decode_image(other), wanted)
    for wrong, message in (("a.png", "rb"), (wanted, "shape"), (None, "NoneType")):
        with pytest.raises(TypeError, match=message):
            df.decode_image(wrong)  # type: ignore[arg-type]
    see_through = saved(Image.fromarray(logo, "RGBA"), "PNG")
    np.testing.assert_array_equal(
        df.decode_image(see_through, alpha=np.array([1, 2, 3])),  # type: ignore[arg-type]
        df.decode_image(see_through, alpha=(1, 2, 3)),
    )


def test_an_own_decoder_keeps_to_the_bound() -> None:
    df.image.register("png", lambda data: np.zeros((50, 50, 3), np.uint8))
    try:
        data = saved(Image.new("RGB", (2, 2)), "PNG")
        with pytest.raises(DecodeError, match="50×50") as caught:
            df.decode_image(data, max_pixels=2000)
        assert caught.value.reason == "too_large"
    finally:
        df.image.register("png", None)


@pytest.mark.parametrize(
    "data",
    [
        *(b"P1\n2 1\n1 0\n", b"P2\n2 1\n255\n0 255\n", b"P3 2 1 255\n0 0 0 255 255 255\n"),
        *(b"P4\n2 1\n\x80", b"P5\n2 1\n255\n\0\xff", b"P6\n2 1\n255\n\0\0\0\xff\xff\xff"),
    ],
)
def test_all_kinds_of_pnm(data: bytes) -> None:
    assert df.decode_image(data).tolist() == [[[0] * 3, [255] * 3]]
    if data[1:2] in b"456":
        assert read_header(data[:-1]).problem == "truncated"  # type: ignore[union-attr]
