"""The transfer between our own tables: a space's latency on a new device from other targets' tables and ten networks.

The other devices' sums of operators are additive, and so are the features (operators, parameters, multiply-accumulates,
elements written, a constant): the new device's prediction is a sum of conditional operators again, exact for one
architecture, differentiable for a distribution, projectable onto a budget like any measured table's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from hwnas.core.arch import Arch
from hwnas.core.errors import BadInput
from hwnas.latency.additive import Additive
from hwnas.latency.model import LatencyModel, raw_sum, space_key
from hwnas.latency.table import LatencyTable
from hwnas.latency.transfer import NewDevice, Transfer, learn
from hwnas.operators import cost
from hwnas.spaces import Space


@dataclass(frozen=True)
class TableTransfer:
    """`networks`: what can be measured; `others`: a sum of operators a table; `charges`: one a feature."""

    networks: list[Arch]
    others: list[Additive]
    charges: list[Additive]
    transfer: Transfer

    def choose(self, count: int) -> list[Arch]:
        """The networks to measure on the new device, most telling first."""
        return [self.networks[i] for i in self.transfer.choose(count)]

    def fit(self, measured_ms: Mapping[Arch, float]) -> "TransferredLatency":
        """Raises BadInput for a network that is none of `networks`, and for times ≤ 0 or NaN."""
        index = {arch: i for i, arch in enumerate(self.networks)}
        unknown = next((arch for arch in measured_ms if arch not in index), None)
        if unknown is not None:
            raise BadInput(f"the network {unknown} was not among those to choose from", "measure those `choose` names")
        device = self.transfer.fit([index[arch] for arch in measured_ms], list(measured_ms.values()))
        return TransferredLatency(self.others, self.charges, device)


@dataclass(frozen=True)
class TransferredLatency:
    others: list[Additive]
    charges: list[Additive]
    device: NewDevice

    def predict(self, archs: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """[n, choices] → ms, and the bounds between which 95 % of networks measure; each [n]."""
        return self.device.predict(*_described(self.others, self.charges, archs))

    def additive(self) -> Additive:
        """The same milliseconds as a sum of operators, for gradients and integer programs."""
        transfer = self.device.transfer
        parts = [*self.others, *self.charges]
        shares = self.device.speed * self.device.weights / np.concatenate([transfer.medians, transfer.sizes])
        values = sum(share * part.values for share, part in zip(shares, parts, strict=True))
        constant = sum(share * part.constant for share, part in zip(shares, parts, strict=True))
        return Additive(parts[0].space, np.asarray(values), constant)


def transfer_from_tables(
    space: Space, tables: Sequence[LatencyTable], archs: Sequence[Arch], count: int = 10
) -> TableTransfer:
    """`archs`: those that could be measured, a few hundred spread over the space; the networks that calibrated the
    tables are added. Raises BadInput for fewer than two tables, for a table that lacks an operator of the space, and
    when no table holds more than `count` measured networks.
    """
    others = [_sum(space, table) for table in tables]
    known = [_measured(space, table) for table in tables]
    networks = list(dict.fromkeys([*archs, *(arch for found in known for arch in found)]))
    charges = _charges(space)
    features, others_ms = _described(others, charges, np.array(networks))
    measured_ms = np.array([[found.get(arch, np.nan) for arch in networks] for found in known])
    return TableTransfer(networks, others, charges, learn(features, others_ms, measured_ms, count))


def _sum(space: Space, table: LatencyTable) -> Additive:
    """Corrected by whole networks where the table holds any."""
    return LatencyModel(space, table).additive if space_key(space) in table.calibration else raw_sum(space, table)


def _measured(space: Space, table: LatencyTable) -> dict[Arch, float]:
    calibration = table.calibration.get(space_key(space))
    return {n.arch: n.median_ms for n in calibration.fitted + calibration.held_out} if calibration else {}


def _charges(space: Space) -> list[Additive]:
    """What a device may charge an operator for: being there, its parameters, its work, its output; and the call."""
    costs = [cost(conditional.spec) for conditional in space.operators()]
    columns = np.array([(1, parameters, macs, prod(shape)) for shape, parameters, macs in costs], dtype=np.float64)
    call = Additive(space, np.zeros(len(costs)), constant=1.0)
    return [*(Additive(space, column) for column in columns.T), call]


def _described(others: list[Additive], charges: list[Additive], archs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Features [n, charges] and the other devices' ms [devices, n]."""
    features = np.column_stack([charge.sum_many(archs) for charge in charges])
    return features, np.array([other.sum_many(archs) for other in others])
