"""The embedded server under the name it had in 0.1.0; see `tidebase_pg.admin.embedded`."""

from __future__ import annotations

from tidebase_pg.admin.embedded import EmbeddedError, Server, binaries

__all__ = ["EmbeddedError", "Server", "binaries"]
