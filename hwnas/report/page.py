"""stub"""

from pathlib import Path


def write_report(p: Path) -> Path:
    return p
