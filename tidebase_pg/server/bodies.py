"""What requests carry: bodies and queries, each field with its limits. Unknown keys are passed
over, and null for an optional field is the same as leaving it out."""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

from msgspec import Meta, Raw, Struct

Json: TypeAlias = Annotated[Raw, Meta(description="Any JSON value.")]
Object: TypeAlias = Annotated[
    Raw, Meta(description="A JSON object.", extra_json_schema={"type": "object"})
]
Text: TypeAlias = Annotated[str, Meta(min_length=1)]
NONE = Raw()


class CreateRun(Struct, rename="camel", kw_only=True):
    input: Json = NONE
    metadata: Object = NONE
    recovery_webhook: Text | None = None
    channels: list[Any] | None = None


class ListRuns(Struct, rename="camel", kw_only=True):
    status: str | None = None
    queue: str | None = None
    workflow: str | None = None
    before: str | None = None
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
