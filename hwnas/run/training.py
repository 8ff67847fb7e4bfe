"""Training the networks of a run, by one recipe: winner, references, and the teacher of all of them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import nn

from hwnas.core.errors import BadInput
from hwnas.core.seeds import derive
from hwnas.devices import open_runtime
from hwnas.latency.additive import Additive
from hwnas.operators import cost
from hwnas.run.directory import RunDirectory
from hwnas.run.networks import Network
from hwnas.run.rounding import fit_rounding
from hwnas.search.projection import extreme
from hwnas.spaces import Space
from hwnas.training.compute import Device
from hwnas.training.data import Data
from hwnas.training.distillation import Distillation
from hwnas.training.divergence import Epoch, check_learning
from hwnas.training.network import Loss, train

Initialise = Callable[[nn.Module], object]
"""Gives a freshly built network its starting weights, in place."""


@dataclass(frozen=True)
class Trainer:
    """Trains on the weights and search splits together: nothing is left to choose. Every epoch goes to the journal."""

    directory: RunDirectory
    space: Space
    data: Data
    device: Device
    loss: Loss | None = None
    initialise: Initialise | None = None

    def trained(self, network: Network) -> nn.Module:
        """Resumes from the checkpoints; a finished network is loaded. Raises BadInput when it does not learn."""
        config = self.directory.config
        name = f"{network.role}-{'.'.join(map(str, network.arch))}"
        final = self.directory.checkpoints / f"{name}.trained.safetensors"
        if (done := self.device.ranks.load(final)) is not None:
            module = network.space.build(network.arch)
            module.load_state_dict(done[0]["model"])
            return module.eval()
        teacher = None if network.role == "teacher" else self._distillation
        torch.manual_seed(derive(config.seed, "network", network.role) % 2**63)
        module = network.space.build(network.arch)
        self._start(module, network)
        progress = self.directory.checkpoints / f"{name}.safetensors"
        seed, label = derive(config.seed, "train"), f"train {network.role}"
        told = _Told(self.directory, network)
        train(module, self.data.train, config.training, self.device, seed, label, progress, self.loss, teacher, told)
        self._fit_rounding(module, network, name)
        module.cpu()
        self.device.ranks.save(final, {"model": module.state_dict()}, {"arch": list(network.arch)})
        progress.unlink(missing_ok=True)
        return module

    def _fit_rounding(self, module: nn.Module, network: Network, name: str) -> None:
        """In place, where a target rounds. A teacher is asked in fp32."""
        config, key = self.directory.config, {"role": network.role, "arch": list(network.arch)}
        rounding = [each.target for each in config.each() if each.target.precision == "int8"]
        if not rounding or network.role == "teacher":
            return
        path, label = self.directory.checkpoints / f"{name}.rounding.safetensors", f"fit {network.role} to int8"
        form = self.device.ranks.told(lambda: open_runtime(rounding[0]).int8_form)
        facts = fit_rounding(module, form, self.data, config, self.device, label, path, self.loss)
        if facts is not None and self.directory.journal.last("rounded", **key) is None:
            self.directory.journal.append("rounded", **key, **facts)

    def _start(self, module: nn.Module, network: Network) -> None:
        """In place. A network of another space has no weights in the supernet, and starts from scratch."""
        if self.directory.config.training.start == "supernet" and network.space is self.space:
            module.load_state_dict(self.space.inherited(self._supernet, network.arch))
        if self.initialise:
            self.initialise(module)

    @cached_property
    def _supernet(self) -> nn.Module:
        path = self.directory.checkpoints / "trial" / "supernet.safetensors"
        found = self.device.ranks.load(path)
        if found is None:
            raise BadInput(f"{path} is gone: there is no supernet to start from", "--set training.start=scratch")
        state = torch.random.get_rng_state()
        supernet = self.space.supernet()
        torch.random.set_rng_state(state)
        supernet.load_state_dict(found[0]["model"])
        return supernet

    @cached_property
    def _distillation(self) -> Distillation | None:
        """The teacher learns first, and alone; then it teaches every network that is compared, the reference too."""
        recipe = self.directory.config.training
        if recipe.teacher is None:
            return None
        macs = Additive(self.space, np.array([cost(conditional.spec)[2] for conditional in self.space.operators()]))
        largest = recipe.teacher == "largest"
        arch = extreme(self.space, macs, cheapest=False) if largest else self.space.reference()
        teacher = self.trained(Network("teacher", self.space, arch))
        return Distillation(teacher, recipe.temperature, recipe.teacher_weight, self.device)


class _Told:
    """Writes a network's epochs to the journal, each once, and ends a training that does not learn."""

    def __init__(self, directory: RunDirectory, network: Network) -> None:
        self.journal, self.network = directory.journal, {"role": network.role, "arch": list(network.arch)}

    def __call__(self, epoch: Epoch) -> None:
        # An epoch that was journaled but killed before its checkpoint is trained again, to the same numbers.
        if self.journal.last("training", **self.network, epoch=epoch.number) is None:
            told = {"loss": epoch.loss, "chance": epoch.chance, "learning_rate": epoch.learning_rate}
            self.journal.append("training", **self.network, epoch=epoch.number, **told)
        so_far = [
            Epoch(record["epoch"], record["loss"], record["chance"], record["learning_rate"])
            for record in self.journal.of("training", **self.network)
            if record["epoch"] <= epoch.number
        ]
        check_learning(f"train {self.network['role']}", so_far, "training.learning_rate")
