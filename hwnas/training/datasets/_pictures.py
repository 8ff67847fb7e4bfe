"""An encoded picture as pixels of one size."""

import io
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")


class Unreadable(ValueError):
    """No picture, a torn one, or one so large that it is an attack."""


def square_of(encoded: Path | bytes, size: int) -> np.ndarray:
    """uint8 [3, size, size]: the shorter side is scaled to `size`, the middle is kept. Raises Unreadable."""
    try:
        with Image.open(io.BytesIO(encoded) if isinstance(encoded, bytes) else encoded) as image:
            return _square(_rgb(image), size)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise Unreadable(str(error)) from error


def _rgb(image: Image.Image) -> Image.Image:
    """Greyscale of 16 bits is scaled to 8; Pillow would clip it to white."""
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8))
    return image.convert("RGB")


def _square(image: Image.Image, size: int) -> np.ndarray:
    scale = size / min(image.size)
    width, height = (max(size, round(side * scale)) for side in image.size)
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = (width - size) // 2, (height - size) // 2
    return np.asarray(image.crop((left, top, left + size, top + size))).transpose(2, 0, 1)
