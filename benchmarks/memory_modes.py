"""How true the model is for Arm's NPUs, whatever their memory mode.

    python benchmarks/memory_modes.py --spaces mobile mobile-224 --networks 100

Every accelerator and memory mode of Vela's own configuration file is a target, profiled and judged as
`benchmarks/fidelity.py` judges any other. Times are Vela's estimates, so neither load nor noise matters.
"""

import argparse
import tempfile
from pathlib import Path

import yaml
from fidelity import DATA, HEADINGS, fidelity, text

from hwnas.core.machine import cpu_name
from hwnas.latency.profiler import ProfileSettings

MODES = {
    ("ethos-u55-128", "Ethos_U55_High_End_Embedded"): ("Sram_Only", "Shared_Sram"),
    ("ethos-u65-256", "Ethos_U65_Client_Server"): ("Sram_Only", "Shared_Sram", "Dedicated_Sram_384KB"),
    ("ethos-u85-256", "Ethos_U85_SYS_DRAM_Mid"): ("Sram_Only", "Shared_Sram", "Dedicated_Sram_384KB"),
}
"""Accelerator and system configuration → memory modes."""


def targets(folder: Path) -> list[str]:
    """Their files."""
    files = []
    for (accelerator, system), modes in MODES.items():
        for mode in modes:
            name = f"{accelerator}-{mode.lower().replace('_', '-')}"
            options = {"accelerator": accelerator, "system_config": system, "memory_mode": mode}
            facts = {"name": name, "device": "named", "runtime": "ethos-u", "precision": "int8", "options": options}
            files.append(folder / f"{name}.yaml")
            files[-1].write_text(yaml.safe_dump(facts))
    return [str(file) for file in files]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spaces", nargs="+", choices=DATA, default=list(DATA))
    parser.add_argument("--networks", type=int, default=100)
    parser.add_argument("--fitted", type=int, default=80)
    options = parser.parse_args()
    print(f"{cpu_name()}\n\n| {' | '.join(HEADINGS)} |\n{'|---' * len(HEADINGS)}|")
    settings = ProfileSettings(fitted=options.fitted)
    with tempfile.TemporaryDirectory() as folder:
        for space in options.spaces:
            for target in targets(Path(folder)):
                found = fidelity(space, target, Path(folder) / "tables", options.networks, 0, settings)
                print(text(found).splitlines()[-1], flush=True)


if __name__ == "__main__":
    main()
