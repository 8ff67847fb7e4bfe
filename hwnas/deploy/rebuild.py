"""What a compiler wrote into a bundle, written anew for this machine: engines are for one GPU and one version."""

import json
from pathlib import Path

from hwnas.core.errors import BadInput
from hwnas.core.files import read_regular, write_atomic
from hwnas.deploy.bundle import write_manifest
from hwnas.deploy.formats import open_formats
from hwnas.deploy.inspection import check_files, check_structure
from hwnas.deploy.manifest import MANIFEST, MOST_BYTES, read_manifest
from hwnas.deploy.samples import read_samples


def rebuild_bundle(folder: Path) -> list[str]:
    """The formats that were compiled again, from the network that lies beside them. Their hashes are written last.

    Raises BadInput for a bundle that was altered, Unavailable when a compiler is not here.
    """
    manifest = read_manifest(folder)
    check = check_files(folder, manifest)
    contents = {name: read_regular(folder / name, MOST_BYTES) for name in manifest.files} if check.ok else {}
    if check.ok:
        check = check_structure(contents, manifest, read_samples(folder / "samples.safetensors"))
    if not check.ok:
        raise BadInput(f"{folder} is not the bundle that was written: {check.detail}", "export the network again")
    formats, _ = open_formats(manifest.formats, contents, manifest.deployed)
    rebuilt = []
    for form in formats:
        files = tuple(form.files.values())
        again = form.exporter(target=manifest.target).recompiled(*files)
        if again != files:
            rebuilt.append(form.name)
            for name, content in zip(form.files, again, strict=True):
                write_atomic(folder / name, content)
    if rebuilt:
        write_manifest(folder, json.loads((folder / MANIFEST).read_text()))
    return rebuilt
