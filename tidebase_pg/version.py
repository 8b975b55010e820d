"""The version of the package, and of the schema it carries."""

from __future__ import annotations

__version__ = "0.2.0"
