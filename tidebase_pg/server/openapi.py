"""The OpenAPI document, from the declarations of the routes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final, get_args

import msgspec

from tidebase_pg.server.refusals import TITLES
from tidebase_pg.server.routing import Route
from tidebase_pg.version import __version__

_REF: Final = "#/components/schemas/{name}"
_PARAMETERS: Final = {
    "workflow": "The name of a workflow; `/` as `%2F`.",
    "queue": "The name of a queue; `/` as `%2F`.",
    "lane": "The name of a lane; `/` as `%2F`.",
    "name": "The name of a schedule; `/` as `%2F`.",
    "id": "An id as answers have it.",
    "step": "The id of a step as answers have it.",
    "stream": "The name of a stream.",
    "gate": "The id of a gate as answers have it.",
}
_ERRORS: Final[dict[int, str]] = {
    400: "What was sent is wrong: `issues` says where and what would be right.",
    401: "No key, or an unknown one.",
    403: "The role of the key does not allow it.",
    404: "There is no such thing.",
    409: "It contradicts what is stored; `code` says how.",
    413: "Too large.",
    422: "It has nothing to do it with.",
    429: "Too many at once.",
    503: "Not now; `retry-after` says when.",
}


def document(routes: Iterable[Route]) -> bytes:
    """OpenAPI 3.1, as JSON."""
    listed = list(routes)
    kinds = [kind for route in listed for kind in _kinds(route)]
    unique = list(dict.fromkeys(kinds))
    schemas, components = msgspec.json.schema_components(unique, ref_template=_REF)
    schema_of = dict(zip(unique, schemas, strict=True))
    components["Error"] = _error()
    paths: dict[str, dict[str, Any]] = {}
    for route in listed:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(
            route, schema_of, components
        )
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {
                "title": "Tidebase for Postgres",
                "version": __version__,
                "summary": "Durable runs, queues and steps over HTTP.",
            },
            "servers": [
                {"url": "/"},
                {
                    "url": "/w/{worker}",
                    "description": "The same routes, which say who sends each request.",
                    "variables": {"worker": {"default": "worker-1"}},
                },
            ],
            "security": [{"key": []}],
            "tags": [{"name": topic} for topic in dict.fromkeys(route.topic for route in listed)],
            "paths": paths,
            "components": {
                "schemas": components,
                "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
            },
        }
    )


def _kinds(route: Route) -> list[Any]:
    found = [kind for kind in (route.body, route.query) if kind is not None]
    answer = _answer(route)
    return found if answer is None else [*found, answer]


def _answer(route: Route) -> Any:
    """The kind that is answered as JSON; None for other answers."""
    kinds = get_args(route.answer) or (route.answer,)
    for kind in kinds:
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            return kind
    return None


def _operation(
    route: Route, schema_of: dict[Any, Any], components: dict[str, Any]
) -> dict[str, Any]:
    summary, _, rest = route.summary.replace("\n", " ").partition(". ")
    operation: dict[str, Any] = {
        "operationId": route.name,
        "summary": summary.rstrip("."),
        "tags": [route.topic],
        "parameters": [*_path_parameters(route), *_query_parameters(route, schema_of, components)],
    }
    if rest:
        operation["description"] = rest
    if route.open:
        operation["security"] = []
    if route.body is not None:
        operation["requestBody"] = {
            "required": not route.optional_body,
            "content": {"application/json": {"schema": schema_of[route.body]}},
        }
    answer = _answer(route)
    schema: dict[str, Any] = {} if answer is None else schema_of[answer]
    responses: dict[str, Any] = {
        "200": {"description": "Done.", "content": {route.media: {"schema": schema}}}
    }
    known = {503, *route.errors}
    if not route.open:
        known |= {401, 403, 429}
    if route.body is not None or route.query is not None or "{" in route.path:
        known.add(400)
    if route.body is not None:
        known.add(413)
    for status in sorted(known):
        responses[str(status)] = {
            "description": _ERRORS.get(status, TITLES[status]),
            "content": {
                "application/json": {"schema": {"$ref": _REF.format(name="Error")}},
                "application/problem+json": {"schema": {"$ref": _REF.format(name="Error")}},
            },
        }
    operation["responses"] = responses
    return operation


def _path_parameters(route: Route) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": _PARAMETERS[name],
            "schema": {"type": "string", "minLength": 1},
        }
        for name in re.findall(r"{(\w+)}", route.path)
    ]


def _query_parameters(
    route: Route, schema_of: dict[Any, Any], components: dict[str, Any]
) -> list[dict[str, Any]]:
    if route.query is None:
        return []
    name = schema_of[route.query]["$ref"].rpartition("/")[2]
    return [
        {"name": field, "in": "query", "required": False, "schema": schema}
        for field, schema in components[name]["properties"].items()
    ]


def _error() -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["error"],
        "properties": {
            "error": {"type": "string"},
            "code": {"type": "string"},
            "reason": {"type": "string"},
            "issues": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["path", "message"],
                    "properties": {
                        "path": {"type": "array", "items": {"type": ["string", "integer"]}},
                        "message": {"type": "string"},
                    },
                },
            },
        },
    }
