"""A runtime whose device cannot be reached from here: a kit was run there, and its results say what it is."""

from collections.abc import Mapping
from typing import NoReturn

from hwnas.core.errors import Unavailable
from hwnas.core.target import Target
from hwnas.devices.aboard import require
from hwnas.devices.elsewhere import Elsewhere


class Recorded(Elsewhere):
    """`identity` and `state`: as the results say; empty while the kit is only being packed."""

    def __init__(
        self,
        target: Target,
        identity: Mapping[str, str | int] | None = None,
        state: Mapping[str, str | int | float] | None = None,
    ) -> None:
        super().__init__(target.model_copy(update={"options": {}}))
        require(target)
        self._identity, self._state = identity or {}, state or {}

    def identity(self) -> Mapping[str, str | int]:
        return self._identity

    def state(self) -> Mapping[str, str | int | float]:
        return self._state

    def load(self, model: bytes) -> NoReturn:
        raise Unavailable(f"the device of target '{self.target.name}' is not connected", "pack a kit for it")
