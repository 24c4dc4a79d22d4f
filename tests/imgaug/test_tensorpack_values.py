"""Changes of pixel values against the real tensorpack's, with equal parameters; its own tests."""

from __future__ import annotations

import re
import unittest
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from optional import library

from dataflow import imgaug

tp = library("tensorpack.dataflow.imgaug")


def same(
    name: str,
    arguments: tuple[Any, ...],
    image: np.ndarray,
    params: Any = None,
    tolerance: float = 1.0,
    their_params: Any = None,
) -> None:
    """The same image, within rounding, and of the same type."""
    mine = getattr(imgaug, name)(*arguments)._augment(image, params)
    their_params = params if their_params is None else their_params
    theirs = getattr(tp, name)(*arguments)._augment(image.copy(), their_params)
    assert mine.shape == theirs.shape
    assert mine.dtype == theirs.dtype
    if mine.dtype != np.uint8 and tolerance == 1:
        tolerance = 2e-3  # single precision, of values up to 255
    assert np.abs(mine.astype(np.float64) - theirs).max() <= tolerance


def is_grey(image: np.ndarray) -> bool:
    return image.ndim == 2 or image.shape[2] == 1


def test_brightness(form: np.ndarray) -> None:
    for change in (-100.3, 0.0, 0.6, 77.0):
        same("Brightness", (100,), form, change)
        same("Brightness", (100, False), form, change)


def test_hue(form: np.ndarray) -> None:
    if is_grey(form):
        return  # refused, and tested elsewhere
    colour = np.ascontiguousarray(form[..., :3])  # tensorpack loses a fourth channel
    for rgb in (True, False):
        for angle in (0, 1, 45, -90, 150):
            same("Hue", ((0, 180), rgb), colour, np.float32(angle))
            mine = imgaug.Hue(rgb=rgb)._augment(form, angle)
            assert np.array_equal(mine[..., 3:], form[..., 3:])
    # A unit of the hue: tensorpack cuts it, ours rounds it.
    same("Hue", ((0, 180),), colour, np.float32(10.7), tolerance=9)


def test_normal_forms(form: np.ndarray) -> None:
    for all_channel in (True, False):
        mine = imgaug.MeanVarianceNormalize(all_channel).augment(form)
        assert mine.dtype == np.float32  # tensorpack's is float64 on NumPy 2
        exact = form.astype(np.float64)
        axes = None if all_channel else (0, 1)
        exact = (exact - exact.mean(axes, keepdims=True)) / exact.std(axes, keepdims=True)
        assert np.abs(mine - exact).max() < 1e-5
        # tensorpack sums up channels in single precision, one number after the other.
        theirs = tp.MeanVarianceNormalize(all_channel)._augment(form, None)
        assert np.abs(mine - theirs).max() < (1e-5 if all_channel else 1e-2)
        same("MinMaxNormalize", (-1, 1, all_channel), form)
        same("MinMaxNormalize", (0, 255, all_channel), form)


def test_blur(form: np.ndarray) -> None:
    for params in [((1, 1), (0, 0)), ((5, 5), (0, 0)), ((3, 7), (1.5, 0.7))]:
        same("GaussianBlur", ((0, 9), (0, 2), False), form, params)


def test_blur_draws_from_the_same_ranges(photo: np.ndarray) -> None:
    for arguments in [(3,), ((1, 5), (0.5, 2.0), False)]:
        ours, theirs = imgaug.GaussianBlur(*arguments), tp.GaussianBlur(*arguments)
        drawn = [[one._get_augment_params(photo) for _ in range(200)] for one in (ours, theirs)]
        sizes = [{tuple(map(int, size)) for size, _ in some} for some in drawn]
        assert sizes[0] == sizes[1]
        sigmas = [np.array([sigma for _, sigma in some]) for some in drawn]
        assert np.allclose(sigmas[0].mean(0), sigmas[1].mean(0), atol=0.2)
    with pytest.deprecated_call():
        assert imgaug.GaussianBlur(max_size=4).size_range == tp.GaussianBlur(max_size=4).size_range


def test_gamma(form: np.ndarray) -> None:
    whole = np.floor(form)  # tensorpack cuts floating point values to integers first
    for gamma in (-0.5, 0.0, 0.3):
        same("Gamma", (), whole.astype(form.dtype), gamma, tolerance=1.001)


def test_clip(form: np.ndarray) -> None:
    for limits in [(), (10, 99), (0, 200)]:
        same("Clip", limits, form)


def test_jpeg(form: np.ndarray) -> None:
    for quality in (10, 50, 99):
        mine = imgaug.JpegNoise()._augment(form, quality)
        image = form if form.ndim == 2 else np.ascontiguousarray(form[..., :3])
        theirs = tp.JpegNoise()._augment(image.round(), quality)
        if is_grey(form):
            theirs = theirs[..., 0].reshape(form.shape)  # it makes three channels of one
        assert mine.dtype == theirs.dtype
        if form.ndim == 2:
            assert np.array_equal(mine, theirs)
        else:
            assert np.array_equal(mine[..., :3], theirs)
            assert np.array_equal(mine[..., 3:], form[..., 3:])


def test_noise(form: np.ndarray) -> None:
    noise = imgaug.GaussianNoise()._get_augment_params(form)
    chances = imgaug.SaltPepperNoise()._get_augment_params(form)
    for sigma in (0, 1, 30.5):
        same("GaussianNoise", (sigma,), form, noise)
        same("GaussianNoise", (sigma, False), form, noise)
    for arguments in [(), (0.3, 0.1), (0, 0), (0.5, 0.5)]:
        same("SaltPepperNoise", arguments, form, chances, tolerance=0)


def test_conversions(form: np.ndarray) -> None:
    same("ToUint8", (), form)
    same("ToFloat32", (), form)
    if is_grey(form):
        if form.ndim == 3:  # of two dimensions tensorpack makes four
            same("ColorSpace", (cv2.COLOR_GRAY2BGR,), form)
        return
    for arguments in [(), (False,), (True, True), (True, False, True)]:
        image = np.ascontiguousarray(form[..., :3]) if len(arguments) == 3 else form
        same("Grayscale", arguments, image)
    for mode in (cv2.COLOR_BGR2HSV, cv2.COLOR_RGB2YUV, cv2.COLOR_BGR2GRAY):
        image = form if mode == cv2.COLOR_BGR2GRAY else np.ascontiguousarray(form[..., :3])
        same("ColorSpace", (mode,), image)
        same("ColorSpace", (mode, False), image)


def test_its_own_tests_pass_here() -> None:
    """The test file in its package, with its imports replaced by ours."""
    source = Path(tp.__file__).with_name("imgaug_test.py").read_text()
    source, count = re.subn(r"(?m)^from \.\w+ import", "from dataflow.imgaug import", source)
    assert count == 4
    module: dict[str, Any] = {"__name__": "imgaug_test"}
    exec(compile(source, "imgaug_test.py", "exec"), module)
    assert module["Flip"] is imgaug.Flip
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(module["ImgAugTest"])
    result = suite.run(unittest.TestResult())
    assert result.testsRun == 4
    assert not result.failures and not result.errors, result
