"""A runtime on a device that is not this machine, and what such a device is allowed to say."""

from typing import Annotated

from pydantic import Field, StringConstraints

from hwnas.core.errors import BadInput, Unavailable
from hwnas.core.plugins import load
from hwnas.core.target import Target
from hwnas.runtimes import Runtime

Text = Annotated[str, StringConstraints(max_length=300, pattern=r"^[^\x00-\x1f\x7f-\x9f]*$")]
"""Printed on a terminal some day, so without control characters."""
_Key = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
_Whole = Annotated[int, Field(strict=True, ge=-(10**12), le=10**12)]
Identity = Annotated[dict[_Key, Text | _Whole], Field(min_length=3, max_length=12)]
State = Annotated[dict[_Key, Text | _Whole | Annotated[float, Field(strict=True)]], Field(max_length=24)]
Nanoseconds = Annotated[int, Field(strict=True, gt=0, lt=600 * 10**9)]
"""No run takes ten minutes: such a value is a wrong unit, or a lie."""


class Elsewhere(Runtime):
    """What a time includes, and which precisions there are, is what the runtime of the same name says here."""

    def __init__(self, target: Target) -> None:
        plugin = load("runtimes", target.runtime)
        if plugin.estimate:
            raise BadInput(f"{target.runtime} estimates on this machine; target '{target.name}' needs no host")
        here: Runtime = plugin(target.model_copy(update={"host": "", "options": {}, "provider": ""}))
        self.measures, self.precisions, self.own_format = here.measures, here.precisions, here.own_format
        self.int8_form, self.mixed = here.int8_form, here.mixed
        super().__init__(target)

    def portable(self, model: bytes) -> bytes:
        """The ONNX model as it is sent to the device: LiteRT takes a format of its own, which is written here."""
        if self.target.runtime != "litert":
            return model
        from hwnas.formats.tflite import from_onnx

        return from_onnx(model, self.target.batch)


def check_identity(identity: dict[str, str | int], target: Target) -> None:
    """Raises Unavailable when a device runs something else than the target says."""
    wanted = {"runtime": target.runtime} | ({"provider": target.provider} if target.provider else {})
    for key, value in wanted.items():
        if identity.get(key) != value:
            raise Unavailable(f"target '{target.name}' wants the {key} {value}; its device has {identity.get(key)!r}")
    for key in ("device", "runtime_version"):
        if not identity.get(key):
            raise Unavailable(f"the device of target '{target.name}' does not say its {key}")


def fault_of_turn(samples_ns: list[int], least_ns: int, least_samples: int) -> str | None:
    """A turn ends with the sample that makes both its time and its number enough: no earlier, and no later."""
    if len(samples_ns) < least_samples or sum(samples_ns) < least_ns:
        return f"{len(samples_ns)} samples of {sum(samples_ns)} ns are too few"
    if len(samples_ns) > least_samples and sum(samples_ns[:-1]) >= least_ns:
        return f"{len(samples_ns)} samples of {sum(samples_ns)} ns are too many"
    return None
