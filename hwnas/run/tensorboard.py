"""The journal's numbers as TensorBoard events. The journal stays the source: a rerun writes them all again."""

import shutil
from pathlib import Path

from hwnas.core.errors import Unavailable
from hwnas.core.journal import Journal, Record
from hwnas.run.numbers import Numbers


class TensorBoard:
    """Writes the records there are, and watches for more. Raises Unavailable when TensorBoard is not installed."""

    def __init__(self, folder: Path, journal: Journal) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise Unavailable(
                "TensorBoard is not installed", "pip install 'hwnas[tensorboard]', or --set tensorboard=false"
            ) from error
        shutil.rmtree(folder, ignore_errors=True)
        self._writer, self._numbers = SummaryWriter(str(folder)), Numbers()
        for record in journal.records:
            self(record)
        journal.watchers.append(self)

    def __call__(self, record: Record) -> None:
        for tag, value, step in self._numbers.of(record):
            self._writer.add_scalar(tag, value, step)
        self._writer.flush()
