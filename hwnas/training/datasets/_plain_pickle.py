"""Reading a pickle that holds plain containers and byte arrays, and refusing every other one.

Nothing of numpy is called: its own unpickling trusts what it is given, and altered bytes can crash the process.
"""

import io
import pickle
import struct
from typing import Any

import numpy as np

UNREADABLE = (
    *(pickle.UnpicklingError, EOFError, LookupError, ValueError, TypeError, AttributeError),
    *(OverflowError, MemoryError, struct.error),  # an altered size, or none
)
"""What a damaged pickle may raise."""


def loads(content: bytes) -> Any:
    """Text is read as bytes (Python 2 wrote the published files); arrays come as `ByteArray`. Raises UNREADABLE."""
    return _Unpickler(io.BytesIO(content), encoding="bytes").load()


class ByteArray:
    """Stands in for an array of unsigned bytes."""

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, self.shape, self.dtype, self.fortran, self.raw = state

    def array(self) -> np.ndarray:
        if self.dtype.name not in ("u1", b"u1"):
            raise ValueError(f"an array of {self.dtype.name} instead of unsigned bytes")
        return np.frombuffer(self.raw, np.uint8).reshape(self.shape, order="F" if self.fortran else "C")


class _Dtype:
    def __init__(self, name: str | bytes, *flags: object) -> None:
        self.name = name

    def __setstate__(self, state: object) -> None:
        """Byte order and alignment: of no matter to bytes."""


class _Unpickler(pickle._Unpickler):  # type: ignore[name-defined]
    """In Python: the one in C reserves whatever memory an altered index asks for."""

    def find_class(self, module_name: str, global_name: str) -> Any:
        allowed = {
            ("numpy.core.multiarray", "_reconstruct"): lambda kind, shape, code: ByteArray(),
            ("numpy._core.multiarray", "_reconstruct"): lambda kind, shape, code: ByteArray(),
            ("numpy", "ndarray"): ByteArray,
            ("numpy", "dtype"): _Dtype,
            ("_codecs", "encode"): lambda text, encoding: text.encode(encoding),
        }
        try:
            return allowed[module_name, global_name]
        except KeyError:
            raise pickle.UnpicklingError(f"it refers to {module_name}.{global_name}") from None
