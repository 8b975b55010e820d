"""The trace of who sends a request, kept with the runs that the request makes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from msgspec import Raw

from tidebase_pg.server import bodies

METADATA: Final = "trace"
"""Where it stands in the metadata of a run, as the adapter for OpenTelemetry has it."""
_PARENT: Final = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_STATE: Final = re.compile(r"[\x20-\x7e]{1,512}")


def traced(headers: Mapping[str, str], metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Metadata with the trace in the headers, unless it has one; a header of another form is as
    good as none, as W3C Trace Context has it."""
    parent, state = headers.get("traceparent", ""), headers.get("tracestate", "")
    if not _PARENT.fullmatch(parent):
        return dict(metadata)
    carrier = {"traceparent": parent}
    if _STATE.fullmatch(state):
        carrier["tracestate"] = state
    return {METADATA: carrier, **metadata}


def traced_text(headers: Mapping[str, str], metadata: Raw) -> Raw:
    """The same of metadata as they came, which is not read where there is no trace."""
    if "traceparent" not in headers:
        return metadata
    given = traced(headers, bodies.mapping("metadata", metadata))
    return Raw(json.dumps(given)) if given else metadata
