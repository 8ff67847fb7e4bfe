"""What the formats of a bundle compute: the trained network's answers, and how many of them are right."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from hwnas.core.config import PluginSettings, validate
from hwnas.core.errors import BadInput, Unavailable, VerificationFailed
from hwnas.core.plugins import load
from hwnas.core.target import Target
from hwnas.deploy.formats import Format
from hwnas.deploy.inspection import Check
from hwnas.deploy.manifest import Manifest
from hwnas.deploy.parity import judged, require_parity
from hwnas.deploy.preprocessing import Preprocessing
from hwnas.deploy.samples import Samples
from hwnas.training.datasets import RawData, RawStream, RawText
from hwnas.training.loading import Loading, batches_of

_MOST_LOSS = 0.01
"""Of accuracy, that a format may lose against what the manifest says."""
_AT_ONCE = 4096
"""Images that are network inputs at the same time."""


def check_parity(formats: list[Format], unread: dict[str, str], samples: Samples, target: Target) -> Check:
    """On all samples and corner cases; rounded formats promise nothing for the latter but that they stay finite."""
    found, faults, skipped = [], [], dict(unread)
    for form in formats:
        try:
            found.append(_compared(form, samples, target))
        except Unavailable as error:
            skipped[form.filename] = f"{error.what}; where it runs: hwnas verify BUNDLE"
        except (BadInput, VerificationFailed) as error:
            what = error.what if form.filename in error.what else f"{form.filename}: {error.what}"
            faults.append(what + f": {error.mend}" * ("rebuild" in error.mend))
    detail = f"largest difference of a logit over {len(samples.inputs)} samples and corner cases: {', '.join(found)}"
    told = [*(faults or [detail]), *(f"NOT VERIFIED {name}: {why}" for name, why in skipped.items())]
    return Check("parity", not faults, "; ".join(told))


def _compared(form: Format, samples: Samples, target: Target) -> str:
    """Raises BadInput, Unavailable, VerificationFailed."""
    inputs, logits = (tensor.numpy() for tensor in samples.with_corners)
    form.exporter.require_ours(*form.files.values())
    got = form.answers(target, inputs, alone=True)
    if form.exporter.agreement is not None:
        if not all(np.isfinite(answers).all() for answers in got):
            raise VerificationFailed(f"{form.filename} gives what is no number")
        real = len(samples.inputs)
        got, logits = tuple(answers[:real] for answers in got), logits[:real]
    parity = judged(form.exporter, got, logits)
    require_parity(parity, form.exporter, form.filename)
    return f"{form.filename} {parity.difference:.1e} ({100 * parity.kept:.1f} % of the answers kept)"


def check_accuracy(formats: list[Format], manifest: Manifest, data: PluginSettings | None, target: Target) -> Check:
    """No format may lose more than a point against what the manifest says. Raises BadInput for other data than the
    network's."""
    if data is None:
        return Check("accuracy", True, "skipped: give the data, --data NAME --data-dir DIR")
    if not isinstance(preprocessing := manifest.preprocessing, Preprocessing):
        raise BadInput("the accuracy of a network that reads text cannot be checked again", "leave out --data")
    plugin = load("datasets", data.name)
    raw = plugin(validate(plugin.Settings, data.own(), "data")).load(preprocessing.resolution)
    if isinstance(raw, RawText) or raw.class_names != manifest.class_names:
        raise BadInput("the data's classes are not the network's", "give the data set that it was trained on")
    told, sound = [], True
    for form in formats:
        try:
            accuracy = accuracy_of(form, preprocessing, raw, target)
        except Unavailable as error:
            told.append(f"{form.filename} NOT VERIFIED ({error.what})")
            continue
        told.append(f"{form.filename} {100 * accuracy:.2f} %")
        sound &= accuracy >= manifest.accuracy - _MOST_LOSS
    promised = f"the manifest says {100 * manifest.accuracy:.2f} % for {manifest.deployed}"
    return Check("accuracy", sound, f"on {len(raw.test):,} test images {', '.join(told)}; {promised}")


def accuracy_of(form: Format, preprocessing: Preprocessing, raw: RawData | RawStream, target: Target) -> float:
    """Fraction of test images whose largest logit is their label. Raises BadInput, Unavailable."""
    right = asked = 0
    for pixels, labels in _test_batches(raw):
        inputs = preprocessing.inputs(pixels).numpy()
        right += int((form.answers(target, inputs, alone=False)[0].argmax(1) == labels.numpy()).sum())
        asked += len(labels)
    return right / asked


def _test_batches(raw: RawData | RawStream) -> Iterator[tuple[Tensor, Tensor]]:
    if isinstance(raw, RawStream):
        yield from batches_of(Loading(raw.workers, raw.skip_corrupt).chunks(raw.test.ordered()), _AT_ONCE, last=True)
        return
    for start in range(0, len(raw.test), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        yield torch.from_numpy(raw.test.pixels[part]), torch.from_numpy(raw.test.labels[part])
