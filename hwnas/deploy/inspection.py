"""What lies in a bundle, looked at without running any of it."""

from dataclasses import dataclass
from pathlib import Path

from hwnas.core.files import sha256
from hwnas.deploy import structure
from hwnas.deploy.manifest import MANIFEST, Manifest
from hwnas.deploy.samples import Samples

_ALWAYS = {"README.md", "arch.json", "model.onnx", "samples.safetensors", "weights.safetensors"}


@dataclass(frozen=True)
class Check:
    """`detail`: what was found, in one line."""

    name: str
    ok: bool
    detail: str


def check_files(folder: Path, manifest: Manifest) -> Check:
    """Unlisted files of a kind that the bundle holds could be taken for a part of it; a user's notes could not."""
    kinds = {Path(name).suffix for name in manifest.files}
    present = {path.name for path in folder.iterdir() if not path.name.startswith(".")} - {MANIFEST}
    listed = {name for name in manifest.files if (folder / name).is_file()}
    needed = _ALWAYS | {manifest.deployed, *(name for files in manifest.formats.values() for name in files)}
    faults = {
        "not in the manifest": {name for name in present - manifest.files.keys() if Path(name).suffix in kinds},
        "not listed": needed - manifest.files.keys(),
        "missing": manifest.files.keys() - listed,
        "altered": {name for name in listed if sha256(folder / name) != manifest.files[name]},
    }
    found = [f"{fault}: {', '.join(sorted(names))}" for fault, names in faults.items() if names]
    return Check("files", not found, "; ".join(found) or f"{len(manifest.files)} files, as their sha256 says")


def check_structure(contents: dict[str, bytes], manifest: Manifest, samples: Samples) -> Check:
    """ONNX files by ONNX's checker, those that engines were built from too; every model belongs to a format."""
    shape = tuple(samples.inputs.shape[1:])
    models = {name: content for name, content in contents.items() if name.endswith(".onnx")}
    faults = [f"{name} {fault}" for name, model in models.items() if (fault := structure.fault(model, shape))]
    owned = {name for files in manifest.formats.values() for name in files} | _ALWAYS
    faults += [f"{name} belongs to no format" for name in sorted(contents.keys() - owned)]
    return Check("structure", not faults, "; ".join(faults) or f"{', '.join(models)}: passes ONNX's full check")


def check_preprocessing(contents: dict[str, bytes], manifest: Manifest, samples: Samples) -> Check:
    """The manifest, the ONNX files and the samples agree on what the inputs are."""
    said = manifest.preprocessing.metadata(manifest.class_names)
    faults = []
    for files in manifest.formats.values():
        if files[0].endswith(".onnx"):
            told = structure.metadata(contents[files[0]])
            faults += [f"{files[0]} has another {key} than the manifest" for key in said if told.get(key) != said[key]]
    faults += manifest.preprocessing.faults(samples, manifest.class_names)
    agree = f"{len(samples.inputs)} samples, as the manifest and the ONNX files say"
    return Check("preprocessing", not faults, "; ".join(faults) or agree)
