"""Arm's Vela compiler (https://pypi.org/project/ethos-u-vela), in this process: TFLite for an NPU, and its cycles.

Vela's own core is called without its command line: no files, and the report says what would not run on the NPU.
"""

import contextlib
import io
import os
import tempfile
import threading
from collections.abc import Iterator
from configparser import Error as IniError
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple

from hwnas.core.config import Settings
from hwnas.core.errors import BadInput, Unavailable
from hwnas.core.files import read_regular

try:
    from ethosu import regor
    from ethosu.vela.architecture_features import ArchitectureFeatures
    from ethosu.vela.errors import VelaError
except ModuleNotFoundError as error:  # the package's name is not the module's
    raise Unavailable("'ethos-u' needs the package ethos-u-vela", "pip install ethos-u-vela") from error

_MOST_INI_BYTES = 1 << 20
_compiling = threading.Lock()


class VelaOptions(Settings):
    """Empty names mean Vela's own for the accelerator. `ini`: a configuration file of your own, for your system's clock
    and memories; with it, name `system_config` and `memory_mode` too."""

    accelerator: Literal[
        "ethos-u55-32",
        "ethos-u55-64",
        "ethos-u55-128",
        "ethos-u55-256",
        "ethos-u65-256",
        "ethos-u65-512",
        "ethos-u85-128",
        "ethos-u85-256",
        "ethos-u85-512",
        "ethos-u85-1024",
        "ethos-u85-2048",
    ] = "ethos-u55-128"
    system_config: str = ""
    memory_mode: str = ""
    ini: str = ""


class Compiled(NamedTuple):
    """A TFLite file for the NPU, and what Vela estimates that one inference takes."""

    model: bytes
    cycles: int


@dataclass(frozen=True)
class System:
    """An NPU in its surroundings, by the names and numbers of Vela's configuration file."""

    accelerator: str
    system_config: str
    memory_mode: str
    clock_hz: float
    cache_bytes: int
    macs: int
    cores: int
    ini: str

    @classmethod
    def of(cls, options: VelaOptions) -> "System":
        """Raises BadInput."""
        ini = options.ini
        if ini:
            read_regular(Path(ini), _MOST_INI_BYTES)
        default = ArchitectureFeatures.DEFAULT_CONFIG
        try:
            with contextlib.redirect_stdout(io.StringIO()):  # it announces its defaults, which identity() states
                found = ArchitectureFeatures(
                    vela_config_files=[ini] if ini else None,
                    accelerator_config=options.accelerator,
                    system_config=options.system_config or default,
                    memory_mode=options.memory_mode or default,
                    max_blockdep=ArchitectureFeatures.MAX_BLOCKDEP,
                    verbose_config=False,
                    arena_cache_size=None,
                )
            text = "".join(Path(path).read_text() for path in found.vela_config_files)
        except VelaError as error:
            raise BadInput(f"Vela refuses the system: {error.data}", _known()) from error
        except (IniError, KeyError, ValueError) as error:
            raise BadInput(f"{ini or 'the system'} is no configuration that Vela can read: {error}") from error
        return cls(
            options.accelerator,
            found.system_config,
            found.memory_mode,
            float(found.core_clock),
            int(found.arena_cache_size),
            int(found.num_macs_per_cycle),
            int(found.ncores),
            text,
        )

    @property
    def digest(self) -> str:
        return sha256(self.ini.encode()).hexdigest()[:12]

    def compile(self, model: bytes) -> Compiled:
        """A TFLite file of ours: Vela's core crashes on what is none. The same every time. Raises BadInput when any
        operator would not run on the NPU, for Vela prices those at nothing."""
        family = "".join(part.capitalize() for part in self.accelerator.split("-")[:-1])  # EthosU55
        with _compiling, _stdout_to_file() as said:
            try:
                compiled = regor.compile(family, model, "TFLITE", self._system(), options=self._options())
            except RuntimeError as error:
                raise BadInput(f"Vela refuses the model: {error}") from error
            finally:
                said.seek(0)
                reason = " ".join(said.read(4096).decode(errors="replace").split())
        report = compiled.perf_report
        if report.cpuOps or not report.totalCycles:
            raise BadInput(f"the model would not run on the NPU alone ({self.accelerator}): {reason or 'no operators'}")
        return Compiled(compiled.model, int(report.totalCycles))

    def _system(self) -> str:
        """As Vela's command line gives it to its core."""
        return (
            f"[architecture]\nmacs={self.macs}\ncores={self.cores}\n"
            f"[vela]\nsystem_config_name={self.system_config}\nmemory_mode_name={self.memory_mode}\n{self.ini}"
        )

    def _options(self) -> str:
        """The defaults of Vela's command line."""
        return (
            "[compiler]\noutput_format=TFLite\ncop_format=COP1\n"
            f"[scheduler]\noptimize=Performance\narena_size_limit={self.cache_bytes}\n"
            "cpu_tensor_alignment=16\ntensor_allocator=HillClimb\n"
        )


@contextlib.contextmanager
def _stdout_to_file() -> Iterator[BinaryIO]:
    """The core writes its warnings to file descriptor 1, past Python."""
    with tempfile.TemporaryFile() as file:
        stdout = os.dup(1)
        os.dup2(file.fileno(), 1)
        try:
            yield file
        finally:
            os.dup2(stdout, 1)
            os.close(stdout)


def _known() -> str:
    return "Vela lists its own with: vela --list-configs Arm/vela.ini"
