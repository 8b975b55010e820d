"""A small disk for a server, which can be filled and emptied again without harm to any other."""

from __future__ import annotations

import errno
import subprocess
from pathlib import Path

from tests.servers import Absent

MEGABYTE = 1024 * 1024


class SmallDisk:
    """A tmpfs mounted on a folder. Raises Absent where mounting is not allowed."""

    def __init__(self, folder: Path, megabytes: int) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"
        options = f"size={megabytes}m,mode=0755"
        try:
            subprocess.run(
                ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)],
                check=True, capture_output=True, text=True,
            )  # fmt: skip
        except (OSError, subprocess.CalledProcessError) as error:
            said = getattr(error, "stderr", None) or error
            raise Absent(f"no small disk can be mounted here: {said}".strip()) from None

    def fill(self) -> None:
        """Leave no room at all."""
        with self._ballast.open("ab", buffering=0) as ballast:
            for block in (bytes(MEGABYTE), bytes(4096)):
                try:
                    while True:
                        ballast.write(block)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise

    def empty(self) -> None:
        """Give the room back."""
        self._ballast.unlink(missing_ok=True)

    def unmount(self) -> None:
        # Lazily: the server may still be on its way out.
        subprocess.run(["umount", "--lazy", str(self.folder)], check=True, capture_output=True)
