"""From a photo to the numbers a network was trained on, and back to the part of the photo it saw."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from lrptool.errors import ConfigError
from lrptool.imaging.digit import Box, Invert, border, frame_digit, is_dark_on_light, luminance

Array = NDArray[np.float32]
Channels = Literal["RGB", "BGR", "GRAY"]

_COUNT = {"RGB": 3, "BGR": 3, "GRAY": 1}


@dataclass(frozen=True, eq=False)
class Preprocessing:
    """What happens to a picture before a network sees it, in the order of a Caffe classifier.

    Resize, crop the centre, order the channels, multiply to `raw_scale`, subtract `mean`, multiply by `input_scale`,
    divide by `std`: for a pixel value v in 0..255 the network's input is
    ``(v · raw_scale / 255 − mean) · input_scale / std``.

    Pictures are resized as 8-bit RGB with Pillow's bilinear filter, whose support grows with the reduction
    (antialiasing); everything behind it is float32.

    Parameters
    ----------
    size : (int, int)
        (H, W) of the network's input.
    channels : {"BGR", "RGB", "GRAY"}
        The network's channel order; ``GRAY`` is one channel of ITU-R 601 luminance.
    resize : int or (int, int), optional
        Size before the crop: a side length, or (H, W). Without it pictures are resized to `size` and not cropped.
    mode : {"squash", "shortest"}
        What a side length means: ``squash`` makes both sides that long; ``shortest`` makes the shorter side that long
        and keeps the aspect ratio.
    raw_scale : float
        What white is before the mean is subtracted: 255 or 1.
    mean : float, (C,) or (C, H, W), optional
        In the network's channel order and on the scale of `raw_scale`. A mean image larger than the network's input is
        cropped to its centre.
    input_scale : float
        Multiplied after the mean.
    std : float or (C,), optional
        Divided by at the end.
    invert : bool or "auto"
        Whether dark and light change places, for networks trained on light strokes before black. ``auto`` decides per
        picture: it inverts when the picture's border is nearer to its lightest value than to its darkest.
    fit : {"mnist"}, optional
        ``mnist`` finds the one digit in a photo or scan and frames it as MNIST does, instead of resize and crop.

    Raises
    ------
    ConfigError
        When the values contradict each other; all problems with sizes and options at once.
    """

    size: tuple[int, int]
    channels: Channels = "BGR"
    resize: int | tuple[int, int] | None = None
    mode: Literal["squash", "shortest"] = "squash"
    raw_scale: float = 255.0
    mean: ArrayLike | None = None
    input_scale: float = 1.0
    std: ArrayLike | None = None
    invert: Invert = False
    fit: Literal["mnist"] | None = None
    _mean: Array = field(init=False, repr=False)
    _std: Array = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", tuple(self.size))
        problems = [*self._size_problems(), *self._choice_problems()]
        if problems:
            raise ConfigError("preprocessing: " + "; ".join(problems))
        mean = self._per_channel("mean", self.mean, 0.0)
        std = self._per_channel("std", self.std, 1.0)
        if (std == 0).any():
            raise ConfigError("preprocessing: std must not be zero")
        object.__setattr__(self, "_mean", self._central(mean))
        object.__setattr__(self, "_std", std)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the network's input."""
        return (_COUNT[self.channels], *self.size)

    def facts(self) -> dict[str, Any]:
        """Return what was asked for in plain values; of a mean image its checksum."""
        shown = {key: getattr(self, key) for key in ("size", "channels", "resize", "mode", "raw_scale", "input_scale")}
        shown |= {"std": self._std.ravel().tolist(), "invert": self.invert, "fit": self.fit}
        image = self._mean.shape[1:] != (1, 1)
        mean = sha256(self._mean.tobytes()).hexdigest() if image else self._mean.ravel().tolist()
        return shown | {"mean": mean}

    def __call__(self, image: Image.Image) -> Array:
        """Return `apply(image)`."""
        return self.apply(image)

    def apply(self, image: Image.Image) -> Array:
        """Return the network's input for an RGB picture as float32 (C, H, W)."""
        if self.fit == "mnist":
            digit = frame_digit(image, self.invert, self.size)[1][None]
            return self._scale(np.broadcast_to(digit, self.shape))
        return self._scale(np.broadcast_to(self._arrange(self._resized(image)), self.shape))

    def crop_box(self, image: Image.Image) -> Box:
        """Return the region of the picture that the network sees, in the picture's own pixels.

        Returns
        -------
        (left, top, right, bottom) : int
            Right and bottom exclusive. Within the picture, except with ``fit="mnist"``, where the frame around a digit
            near the edge reaches beyond it.
        """
        if self.fit == "mnist":
            return frame_digit(image, self.invert, self.size)[0]
        box = self._region(image.size)
        x0, y0, x1, y1 = (round(side) for side in box)
        x0, y0 = min(x0, image.width - 1), min(y0, image.height - 1)
        return x0, y0, max(x1, x0 + 1), max(y1, y0 + 1)

    def crop(self, image: Image.Image) -> Image.Image:
        """Return the region of the picture that the network sees, at the picture's own resolution.

        Beyond the picture's edges (see `crop_box`) it is filled with the picture's background.
        """
        left, top, right, bottom = self.crop_box(image)
        if left >= 0 and top >= 0 and right <= image.width and bottom <= image.height:
            return image.crop((left, top, right, bottom))
        pixels = np.asarray(image)
        background = tuple(border(pixels[:, :, c]) for c in range(3))
        sheet = Image.new("RGB", (right - left, bottom - top), background)
        sheet.paste(image, (-left, -top))
        return sheet

    def bounds(self) -> tuple[Array, Array]:
        """Return the smallest and largest input that a pixel can become: the box of the z-box rule.

        Returns
        -------
        low, high : float32 (C, 1, 1), or (C, H, W) with a mean image
            ``low ≤ high`` everywhere, also with a negative scale.
        """
        raw = np.zeros((self.shape[0], 1, 1), dtype=np.float32)
        black, white = self._scale(raw), self._scale(raw + np.float32(255))
        return np.minimum(black, white), np.maximum(black, white)

    def _resized_size(self, photo: tuple[int, int]) -> tuple[int, int]:
        """(width, height) before the crop, for a photo of (width, height)."""
        if self.resize is None:
            return self.size[1], self.size[0]
        if not isinstance(self.resize, int):
            return self.resize[1], self.resize[0]
        if self.mode == "squash":
            return self.resize, self.resize
        shorter = min(photo)
        return round(photo[0] * self.resize / shorter), round(photo[1] * self.resize / shorter)

    def _region(self, photo: tuple[int, int]) -> tuple[float, float, float, float]:
        """(left, top, right, bottom) of what survives the crop, in a photo of (width, height)."""
        width, height = self._resized_size(photo)
        left, top = _margin(width, self.size[1]), _margin(height, self.size[0])
        across, down = photo[0] / width, photo[1] / height
        # min: the last product may exceed the photo by a rounding error, which Pillow refuses.
        right, bottom = min((left + self.size[1]) * across, photo[0]), min((top + self.size[0]) * down, photo[1])
        return left * across, top * down, right, bottom

    def _resized(self, image: Image.Image) -> Image.Image:
        """The picture as the network sees it, in RGB."""
        # Resampling only the region is resizing everything and cropping, to one grey value of rounding: Pillow's filter
        # looks beyond the box. And a picture of 1 × 10 000 pixels does not become one of 256 × 2 560 000 on the way.
        return image.resize(self.size[::-1], Image.Resampling.BILINEAR, box=self._region(image.size))

    def _arrange(self, image: Image.Image) -> NDArray[np.uint8]:
        """Pixel values in the network's channel order, uint8 (C, H, W)."""
        if self.channels == "GRAY":
            raw = luminance(image)[None]
        else:
            planes = np.asarray(image).transpose(2, 0, 1)
            raw = planes if self.channels == "RGB" else planes[::-1]
        invert = is_dark_on_light(luminance(image)) if self.invert == "auto" else self.invert
        return 255 - raw if invert else raw

    def _scale(self, raw: NDArray[np.uint8] | Array) -> Array:
        """From 0..255 to the network's numbers."""
        # One array, changed in place: fresh pages for every step would cost more than the steps.
        values = np.empty(np.broadcast_shapes(raw.shape, self._mean.shape), np.float32)
        values[...] = raw
        if self.raw_scale != 255:
            values *= np.float32(self.raw_scale / 255)
        values -= self._mean
        if self.input_scale != 1:
            values *= np.float32(self.input_scale)
        if (self._std != 1).any():
            values /= self._std
        return values

    def _per_channel(self, key: str, value: ArrayLike | None, default: float) -> Array:
        """Bring a mean or std to (C, 1, 1) or (C, H, W)."""
        count = _COUNT[self.channels]
        array = np.asarray(default if value is None else value, dtype=np.float32)
        if array.ndim <= 1 and array.size in (1, count):
            array = array.reshape(-1, 1, 1)
        fits = array.ndim == 3 and array.shape[0] in (1, count)
        image = array.shape[1:] != (1, 1)
        if fits and image:
            fits = key == "mean" and array.shape[1] >= self.size[0] and array.shape[2] >= self.size[1]
        if not fits:
            wanted = f"{count} numbers" + (f" or an image of at least {self.shape}" if key == "mean" else "")
            raise ConfigError(f"preprocessing: {key} should be {wanted}, found shape {array.shape}")
        if not np.isfinite(array).all():
            raise ConfigError(f"preprocessing: {key} holds NaN or infinite values")
        return np.broadcast_to(array, (count, *array.shape[1:]))

    def _central(self, mean: Array) -> Array:
        """The centre of a mean image that is larger than the network's input."""
        if mean.shape[1:] == (1, 1):
            return mean
        top, left = _margin(mean.shape[1], self.size[0]), _margin(mean.shape[2], self.size[1])
        return mean[:, top : top + self.size[0], left : left + self.size[1]]

    def _size_problems(self) -> list[str]:
        """What is wrong with the sizes."""
        if min(self.size) < 1:
            return [f"size must be positive, found {self.size}"]
        if self.resize is None:
            return []
        sides = (self.resize, self.resize) if isinstance(self.resize, int) else self.resize
        if sides[0] < self.size[0] or sides[1] < self.size[1]:
            return [f"resize {self.resize} is smaller than the network's input {self.size[0]}×{self.size[1]}"]
        return []

    def _choice_problems(self) -> list[str]:
        """What is wrong with the options."""
        problems = []
        for key, value, known in (
            ("channels", self.channels, tuple(_COUNT)),
            ("mode", self.mode, ("squash", "shortest")),
            ("invert", self.invert, (False, True, "auto")),
            ("fit", self.fit, (None, "mnist")),
        ):
            if value not in known:
                problems.append(f"{key} should be one of {', '.join(str(k) for k in known)}, found {value!r}")
        if self.fit == "mnist" and self.channels != "GRAY":
            problems.append("fit 'mnist' needs channels GRAY")
        for key, number in (("raw_scale", self.raw_scale), ("input_scale", self.input_scale)):
            if not np.isfinite(number) or number == 0:
                problems.append(f"{key} must be finite and not zero, found {number}")
        return problems


def _margin(outer: int, inner: int) -> int:
    """What lies left of (or above) a centred window; the odd pixel goes right, as in Caffe."""
    return (outer - inner) // 2
