"""Pages out of templates: what every page knows, and how values look in it."""

from __future__ import annotations

import hashlib
import json
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import quote, urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from tidebase_pg import display
from tidebase_pg.server.studio import charts, words
from tidebase_pg.server.studio.sessions import NOTE, THEME

if TYPE_CHECKING:
    from tidebase_pg.server.studio.application import Visit

NAVIGATION: Final[tuple[tuple[str, str, str], ...]] = (
    ("/", "Overview", "o"),
    ("/runs", "Runs", "r"),
    ("/failures", "Failures", "f"),
    ("/gates", "Decisions", "d"),
    ("/queues", "Queues", "q"),
    ("/lanes", "Lanes", "l"),
    ("/allowances", "Allowances", "a"),
    ("/schedules", "Schedules", "s"),
    ("/workers", "Workers", "w"),
    ("/webhooks", "Webhooks", "h"),
    ("/doctor", "Doctor", "c"),
)
NOTHING: Final = "\N{EN DASH}"
PREVIEW: Final = 20_000
"""Letters of a document a page shows; the rest is a download."""


class Pages:
    """The templates, and the stamp of the static files."""

    def __init__(self, folder: Path, read_only: bool) -> None:
        self._read_only = read_only
        self._environment = Environment(
            loader=FileSystemLoader(folder / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        digest = hashlib.sha256()
        for path in sorted((folder / "static").iterdir()):
            digest.update(path.read_bytes())
        self.stamp = digest.hexdigest()[:12]
        cast(Any, self._environment).globals.update(
            chart=charts.bars,
            spark=charts.spark,
            meter=charts.meter,
            state=words.state,
            tone=words.tone,
            waits=display.WAITS,
            once=_once,
            minutes=_minutes,
            took=took,
            why=why,
            laid=laid,
        )
        cast(Any, self._environment).filters.update(
            when=when,
            ago=ago,
            span=length,
            many=display.count,
            short=short,
            shown=shown,
            document=document,
            size=size,
            cron=words.cron,
            quoted=quoted,
            query=query,
            money=money,
            json_text=json_text,
            field=field,
            past=past,
            fault=fault,
            folded=folded,
            lines=lines,
        )

    def answer(self, visit: Visit, template: str, status: int, facts: dict[str, Any]) -> Response:
        request = visit.request
        sessions = visit.studio.sessions
        note = sessions.read_note(request.cookies.get(NOTE))
        path = request.url.path.removeprefix(visit.base) or "/"
        html = self._environment.get_template(template).render(
            base=visit.base,
            path=path,
            here=path + (f"?{request.url.query}" if request.url.query else ""),
            static=f"{visit.base}/static/{self.stamp}",
            navigation=[
                page for page in NAVIGATION if visit.role != "approver" or page[0] == "/gates"
            ],
            visit=visit,
            csrf=sessions.form_token(visit.session),
            note=facts.pop("note", None) or note,
            theme=theme(request),
            read_only=self._read_only,
            now=facts.pop("now", None) or datetime.now(UTC),
            login_needed=not visit.studio.is_open,
            **facts,
        )
        answer = HTMLResponse(html, status)
        if note:
            answer.delete_cookie(NOTE, path=visit.base or "/")
        return answer

    def bare(self, template: str, status: int, base: str, /, **facts: Any) -> Response:
        """A page for somebody nothing is known of."""
        html = self._environment.get_template(template).render(
            base=base,
            path="",
            here="",
            static=f"{base}/static/{self.stamp}",
            navigation=(),
            visit=None,
            csrf="",
            note=None,
            theme="",
            read_only=self._read_only,
            now=datetime.now(UTC),
            login_needed=False,
            **{"leave": False, **facts},
        )
        return HTMLResponse(html, status)


def theme(request: Request) -> str:
    chosen = request.cookies.get(THEME, "")
    return chosen if chosen in ("light", "dark") else ""


def _moment(value: Any) -> datetime | None:
    return display.moment(value) if isinstance(value, str) else value


def when(value: Any, now: datetime, missing: str = NOTHING) -> Markup:
    """A time as its distance from now, exact in the title; scripts let it tick."""
    found = _moment(value)
    if found is None:
        return Markup('<span class="none">{}</span>').format(missing)
    exact = found.astimezone(UTC)
    return Markup('<time datetime="{}" title="{} UTC" data-ago>{}</time>').format(
        exact.isoformat(), exact.strftime("%Y-%m-%d %H:%M:%S"), display.ago(exact, now)
    )


def past(value: Any, now: datetime) -> bool:
    found = _moment(value)
    return found is not None and found < now


def ago(value: Any, now: datetime) -> str:
    found = _moment(value)
    return NOTHING if found is None else display.ago(found, now)


def length(value: Any) -> str:
    """A length of time: a timedelta, seconds, or the text of an interval."""
    if value is None:
        return NOTHING
    if isinstance(value, str):
        value = display.span(value)
    if isinstance(value, int | float):
        value = timedelta(seconds=value)
    return display.length(value)


def short(value: Any) -> Markup:
    """The end of an id, which tells runs apart; all of it is in the title."""
    text = str(value)
    return Markup('<span class="id" title="{}">…{}</span>').format(text, text[-8:])


def shown(value: Any, most: int = 300) -> str:
    """Text of others on one line, with what could deceive made visible."""
    text = display.visible("" if value is None else str(value))
    return text if len(text) <= most else text[: most - 1] + "…"


def document(value: Any) -> dict[str, Any]:
    """A JSON value or its text laid out, cut where it is long."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return {"text": display.visible(value[:PREVIEW], keep="\n\t"), "cut": True, "size": 0}
    try:
        text = json.dumps(value, indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return {"text": "this document cannot be shown", "cut": True, "size": 0}
    cut = len(text) > PREVIEW
    return {
        "text": display.visible(text[:PREVIEW] + ("\n…" if cut else ""), keep="\n\t"),
        "cut": cut,
        "size": len(text),
    }


FOLD: Final = 24
"""Lines of a document above which its parts can be folded."""


def folded(text: str) -> Markup | None:
    """A long JSON document whose parts open and close; None where it is short, or none."""
    try:
        value: Any = json.loads(text)
    except (ValueError, RecursionError):
        return None
    laid_out = json.dumps(value, indent=2, ensure_ascii=False)
    if len(laid_out) > PREVIEW or laid_out.count("\n") <= FOLD:
        return None
    return Markup('<div class="json" tabindex="0" role="group" aria-label="JSON">{}</div>').format(
        _fold(value, 0)
    )


def _fold(value: Any, depth: int) -> Markup:
    pairs: list[tuple[str, Any]]
    if isinstance(value, dict):
        pairs = [(f"{json.dumps(k, ensure_ascii=False)}: ", v) for k, v in value.items()]  # pyright: ignore[reportUnknownVariableType]
    else:
        pairs = [("", one) for one in value]
    parts: list[Markup] = []
    for name, one in pairs:
        said = json.dumps(one, indent=2, ensure_ascii=False)
        key = display.visible(name)
        if depth < 3 and isinstance(one, dict | list) and said.count("\n") > 3:
            number = len(one)  # pyright: ignore[reportUnknownArgumentType]
            kind = ("{", "}") if isinstance(one, dict) else ("[", "]")
            parts.append(
                Markup(
                    '<details{}><summary>{}{}<small>{}</small>{}</summary><div dir="auto">{}</div>'
                    "</details>"
                ).format(
                    Markup(" open") if said.count("\n") <= FOLD else "",
                    key,
                    kind[0],
                    number,
                    kind[1],
                    _fold(one, depth + 1),
                )
            )
        else:
            shown_text = display.visible(said, keep="\n")
            parts.append(Markup('<p dir="auto">{}{}</p>').format(key, shown_text))
    return Markup().join(parts)


def fault(text: str) -> dict[str, str] | None:
    """An error with a traceback as people read one; None where it is another document."""
    try:
        found: Any = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or not isinstance(found.get("traceback"), str):  # pyright: ignore[reportUnknownMemberType]
        return None
    error = cast("dict[str, Any]", found)
    said = ": ".join(str(error[name]) for name in ("type", "message") if error.get(name))
    trace: str = error["traceback"]
    return {"said": shown(said, 2000), "text": display.visible(trace[:PREVIEW], keep="\n\t")}


def quoted(text: object) -> str:
    """For a path or a query."""
    return quote(str(text), safe="")


def size(number: int | None) -> str:
    """Bytes as people say them."""
    if number is None:
        return NOTHING
    for unit, scale in (("MiB", 1 << 20), ("kiB", 1 << 10)):
        if number >= scale:
            return f"{number / scale:.1f} {unit}"
    return f"{number} B"


def money(value: Any) -> str:
    return NOTHING if value is None else f"${float(value):,.2f}"


def query(given: dict[str, Any], **changes: Any) -> Markup:
    """A query string of what is set, with changes."""
    pairs = {name: value for name, value in {**given, **changes}.items() if value}
    return escape("?" + urlencode(pairs) if pairs else "")


def _once() -> str:
    """An id for what a form makes: posted twice, it is made once."""
    return str(uuid.uuid4())


def _minutes(number: int) -> timedelta:
    return timedelta(minutes=number)


def took(run: dict[str, Any], now: datetime) -> str:
    """How long a run was at it, from its start to its end or now."""
    start, end = display.moment(run["started_at"]), display.moment(run["finished_at"])
    if start is None or (end is None and run["status"] != "running"):
        return NOTHING
    return display.length((end or now) - start)


def json_text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def field(value: Any) -> str:
    """A setting as its field in a form holds it."""
    return "" if value is None else str(value)


def lines(text: str) -> str:
    """Text of several lines with what could deceive made visible."""
    return display.visible(text, keep="\n\t")


_HIDDEN: Final = frozenset({"reason", "detail", "prompt"})


def why(reason: dict[str, Any], base: str, now: datetime) -> Markup:
    """The facts of a reason of `explain_wait`, ids as links and times as distances."""
    parts: list[Markup] = []
    for name, value in reason.items():
        if name in _HIDDEN or value is None:
            continue
        said = _fact(name, value, base, now)
        parts.append(Markup('<span class="fact">{} {}</span>').format(display.fact(name), said))
    return Markup(" ").join(["", *parts])


def _fact(name: str, value: Any, base: str, now: datetime) -> Markup:
    if isinstance(value, list):
        items: list[Any] = value  # pyright: ignore[reportUnknownVariableType]
        return Markup(", ").join(_fact(name, item, base, now) for item in items[:6])
    text = str(value)
    if isinstance(value, dict):
        return Markup("<code>{}</code>").format(shown(json.dumps(value), 120))
    if len(text) == 36 and text.count("-") == 4:
        place = {"gate_id": "gates", "delivery_id": ""}.get(name, "runs")
        if place:
            return Markup('<a href="{}/{}/{}">{}</a>').format(base, place, text, short(text))
        return short(text)
    if name in display.TIMES:
        return when(text, now)
    if name == "lane":
        return Markup('<a href="{}/lanes/{}">{}</a>').format(base, quoted(text), shown(text, 120))
    return escape(shown(text, 120))


def laid(text: str | None, most: int) -> Markup:
    """A JSON object as a table of its fields, other documents as JSON."""
    found = document(text or "{}")
    try:
        value: Any = json.loads(text or "{}")
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict) or not value:
        if value == {}:
            return Markup()
        return Markup('<pre tabindex="0" dir="auto">{}</pre>').format(found["text"])
    rows: list[Markup] = []
    items = list(cast("dict[str, Any]", value).items())
    for name, one in items[:most]:
        if isinstance(one, dict | list):
            said = Markup('<pre tabindex="0" dir="auto">{}</pre>').format(document(one)["text"])
        else:
            plain = one if isinstance(one, str) else json.dumps(one)
            said = Markup('<span dir="auto">{}</span>').format(
                display.visible(plain[:PREVIEW], keep="\n")
            )
        rows.append(Markup("<dt>{}</dt><dd>{}</dd>").format(shown(name, 80), said))
    if len(items) > most:
        rest = Markup("<dt></dt><dd>and {} more</dd>").format(len(items) - most)
        rows.append(rest)
    return Markup('<dl class="laid">{}</dl>').format(Markup().join(rows))
