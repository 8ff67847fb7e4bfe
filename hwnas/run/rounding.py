"""Does rounding to int8 cost a trained network too much, and does fitting it to that help?"""

from pathlib import Path

from torch import nn

from hwnas.core.errors import BadInput
from hwnas.core.progress import warn
from hwnas.core.seeds import derive
from hwnas.formats import Int8Form
from hwnas.run.config import RunConfig
from hwnas.run.export import CALIBRATION
from hwnas.training.compute import Device
from hwnas.training.data import Data
from hwnas.training.network import Loss, accuracy, train
from hwnas.training.rounding import Rounded


def fit_rounding(
    module: nn.Module,
    form: Int8Form,
    data: Data,
    config: RunConfig,
    device: Device,
    label: str,
    path: Path,
    loss: Loss | None,
) -> dict[str, float] | None:
    """In place. Returns accuracies on the search split: `exact` and `unfitted` as the network came, in fp32 and in
    int8; `int8` as it is now. None, and a warning, where the network cannot be traced. `path`: the checkpoint.

    It learns on the weights split alone, so that the search split can say whether that helped; else it is undone.
    """
    try:
        rounded = Rounded(module, data.train.spread(CALIBRATION), form).to(device.torch)
    except BadInput as error:
        warn(f"{label}: {error.what}")
        return None
    exact, before = (accuracy(network, data.search.plain(), device) for network in (module, rounded))
    after, recipe = before, config.rounding
    if exact - before > recipe.when_lost:
        untouched = {key: tensor.clone() for key, tensor in module.state_dict().items()}
        seed = derive(config.seed, "rounding")
        try:
            train(rounded, data.weights, recipe, device, seed, label, path, loss, told=lambda _: rounded.calibrate())
            after = accuracy(rounded, data.search.plain(), device)
        except BadInput as error:
            warn(f"{error.what}: the network stays as it was")
        if after <= before:
            module.load_state_dict(untouched)
            after = before
        path.unlink(missing_ok=True)
    module.eval()
    return {"exact": exact, "unfitted": before, "int8": after}
