"""`ssh_daemon.py FOLDER PORT`: an SSH server of asyncssh that runs what it is asked, until it is ended."""

import asyncio
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import asyncssh


async def _serve(folder: Path, port: int) -> None:
    class Guard(asyncssh.SSHServer):
        """Reads the authorized keys at each login, as OpenSSH does."""

        def connection_made(self, conn: Any) -> None:
            self.connection = conn

        def begin_auth(self, username: str) -> bool:
            self.connection.set_authorized_keys(str(folder / "authorized"))
            return True

    await asyncssh.create_server(
        Guard, "127.0.0.1", port, server_host_keys=[str(folder / "host")], process_factory=_run, encoding=None
    )
    await asyncio.Event().wait()


async def _run(process: Any) -> None:
    """All that the command wrote is sent before its exit status: asyncssh's own redirection may lose the end."""
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_shell(process.command, stdin=pipe, stdout=pipe, stderr=pipe)
    listening = asyncio.create_task(_pump(process.stdin, child.stdin))
    await asyncio.gather(_pump(child.stdout, process.stdout), _pump(child.stderr, process.stderr))
    status = await child.wait()
    listening.cancel()
    process.exit(status)


async def _pump(source: Any, sink: Any) -> None:
    """A listener that has gone is no reason to stop reading: the other would wait for ever."""
    try:
        while piece := await source.read(65536):
            with suppress(OSError, asyncssh.Error):
                sink.write(piece)
                await sink.drain()
    finally:
        if isinstance(sink, asyncio.StreamWriter):
            sink.close()


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1]), int(sys.argv[2])))
