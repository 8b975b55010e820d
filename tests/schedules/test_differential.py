"""Our next fire against two libraries of others, and against a look at every single minute.

Random expressions and instants, a fixed seed. Where cronsim or croniter answer something else, one
of these rules says why: it rewrites the expression into one that means to the library what the
original means to us, and then the answers must be the same. A rule that is never needed fails too.

============  ==================  ==================  ==================  ==========================
library       expression          ours                theirs              why
============  ==================  ==================  ==================  ==========================
cronsim       ``0 0 */2 * 1``     odd days, Mondays   Mondays that are    for Debian a field that
                                                      odd days            begins with * is not
                                                                          restricted; for us only *
cronsim       ``0 0 * * 5/2``     Friday              Friday, Sunday      a/n runs to the end of the
                                                                          field: Saturday, not 7
cronsim       ``0 0 5-5/9 * *``   the 5th             5th, 14th, 23rd     a range of one value is
                                                                          taken for a/n
cronsim       ``0 0 * * sat-sun`` Saturday, Sunday    refused             Sunday also ends the week
cronsim       ``30 2 * * *``      tomorrow            today, gone by      asked in the second pass
                                                                          of 02:30, in a zone
croniter      ``5-5 0 * * *``     00:05               every minute        a range of one value is
                                                                          taken to run once around
croniter      ``0 0 *,5 * 1``     every day           Mondays             a list with * is not
                                                                          restricted; for us it is
croniter      ``0 0 * * 7/2``     Sunday              Sun, Tue, Thu, Sat  7 is turned into 0 first
both          ``*/60 * * * *``    refused             on the hour         a step longer than the
                                                                          field is a slip
croniter      ``0 22-2 * * *``    refused             over midnight       a range that runs back is
                                                                          a slip
both          ``0 0 L * *``       refused             the last day        not in five plain fields
both          ``0 0 * * 1#2``     refused             the second Monday   the same
both          ``0 0 * * * 5``     refused             with seconds        the same
============  ==================  ==================  ==================  ==========================

croniter's answers in zones with summer time are not compared: it has another rule for them.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import pytest
from croniter import CroniterBadCronError, CroniterError, croniter
from cronsim import CronSim, CronSimError

from tests.support import Connection

SEED = 20260612
MINUTE = timedelta(minutes=1)
REFUSED = "refused"
MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
WEEKDAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]


class Field(NamedTuple):
    low: int
    high: int
    longest_step: int
    names: Sequence[str] = ()


FIELDS = [
    Field(0, 59, 59),
    Field(0, 23, 23),
    Field(1, 31, 31),
    Field(1, 12, 12, MONTHS),
    Field(0, 7, 6, WEEKDAYS),
]
DAY, WEEKDAY = 2, 4


class Question(NamedTuple):
    cron: str
    after: datetime
    zone: str = "UTC"


def any_value(draw: random.Random, field: Field, number: int) -> str:
    if field.names and draw.random() < 0.3:
        name = field.names[(number - field.low) % len(field.names)]
        return draw.choice([name, name.upper(), name.title()])
    return draw.choice([str(number), f"{number:02}"]) if draw.random() < 0.1 else str(number)


def any_item(draw: random.Random, field: Field) -> str:
    first, last = sorted(draw.choices(range(field.low, field.high + 1), k=2))
    step = draw.randint(1, field.longest_step)
    if draw.random() < 0.7:
        step = draw.randint(1, min(5, field.longest_step))
    given = any_value(draw, field, first)
    match draw.randrange(40):
        case 0:
            return f"*/{field.longest_step + draw.randint(1, 8)}"
        case 1:
            return f"{last}-{first}"
        case 2 | 3:
            return f"{first}-{first}" + draw.choice(["", f"/{step}"])
        case 4 | 5:
            return f"{draw.choice([first, last])}/{step}"
        case number if number < 12:
            return f"*/{step}"
        case number if number < 17:
            return f"{given}-{any_value(draw, field, last)}"
        case number if number < 21:
            return f"{first}-{last}/{step}"
        case 21:
            return "*"
        case _:
            return given


def any_field(draw: random.Random, place: int) -> str:
    if draw.random() < (0.5 if place >= DAY else 0.25):
        return "*"
    if place in (DAY, WEEKDAY) and draw.random() < 0.01:
        return "L" if place == DAY else f"{draw.randint(0, 6)}#{draw.randint(1, 4)}"
    count = draw.choice([1, 1, 1, 2, 3])
    return ",".join(any_item(draw, FIELDS[place]) for _ in range(count))


def any_cron(draw: random.Random) -> str:
    cron = " ".join(any_field(draw, place) for place in range(5))
    return f"{cron} 5" if draw.random() < 0.01 else cron


def any_instant(draw: random.Random) -> datetime:
    """To the second; every fourth just before, at or after the turn of a month."""
    year, month = draw.randint(1971, 2090), draw.randint(1, 12)
    turn = datetime(year, month, 1, tzinfo=UTC)
    if draw.random() < 0.25:
        return turn + timedelta(seconds=draw.randint(-120, 120))
    return turn + timedelta(seconds=draw.randrange(31 * 86400))


def ours(connection: Connection, questions: Sequence[Question]) -> list[str]:
    """The answers of the database, all in one query: ISO times of UTC, or refused."""
    connection.execute(
        """
        create or replace function pg_temp.answer(cron text, after timestamptz, zone text)
        returns text
        language plpgsql
        as $$
        begin
          return to_char(
            tide._next_fire(tide._parse_cron(cron), after, zone) at time zone 'UTC',
            'YYYY-MM-DD HH24:MI:SS'
          );
        exception
          when sqlstate '22023' then
            return 'refused';
        end;
        $$
        """
    )
    rows = connection.execute(
        """
        select pg_temp.answer(q.cron, q.after, q.zone)
        from unnest(%s::text[], %s::timestamptz[], %s::text[]) with ordinality
          as q(cron, after, zone, place)
        order by q.place
        """,
        tuple(map(list, zip(*questions, strict=True))),
    ).fetchall()
    return [row[0] for row in rows]


def by_cronsim(question: Question) -> str:
    try:
        after = question.after.astimezone(ZoneInfo(question.zone))
        return told(next(CronSim(question.cron, after)))
    except (CronSimError, StopIteration):
        return REFUSED


def by_cronsim_later(question: Question) -> str:
    """Its first answer that is later than the time asked about."""
    after = question.after.astimezone(ZoneInfo(question.zone))
    return told(
        next(fire for fire in CronSim(question.cron, after) if fire.astimezone(UTC) > after)
    )


def by_croniter(question: Question) -> str:
    try:
        return told(croniter(question.cron, question.after).get_next(datetime))
    except (CroniterBadCronError, CroniterError):
        return REFUSED


def told(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


Rewrite = Callable[[list[str]], list[str]]


def items(*places: int, rewrite: Callable[[str, int], str]) -> Rewrite:
    """A rule that rewrites each item of some fields."""

    def apply(fields: list[str]) -> list[str]:
        return [
            ",".join(rewrite(item, place) for item in field.split(","))
            if place in places
            else field
            for place, field in enumerate(fields)
        ]

    return apply


def spell_stars(item: str, place: int) -> str:
    low, high = (1, 31) if place == DAY else (0, 6)
    return f"{low}-{high}{item[1:]}" if item.startswith("*") else item


def with_both_days(rewrite: Rewrite) -> Rewrite:
    def apply(fields: list[str]) -> list[str]:
        return fields if "*" in (fields[DAY], fields[WEEKDAY]) else rewrite(fields)

    return apply


def stop_at_saturday(item: str, place: int) -> str:
    found = re.fullmatch(r"([0-7]|0[0-7]|[a-z]{3})/(\d+)", item)
    if not found:
        return item
    return "7" if found[1] in ("7", "07") else f"{found[1]}-6/{found[2]}"


def only_sunday(item: str, place: int) -> str:
    return re.sub(r"^0?7/\d+$", "7", item)


def single(item: str, place: int) -> str:
    found = re.fullmatch(r"(\w+)-(\w+)(?:/\d+)?", item)
    if not found:
        return item
    first, last = number(found[1], place), number(found[2], place)
    return str(first) if first == last or (first, last) == (7, 0) else item


def single_with_step(item: str, place: int) -> str:
    return single(item, place) if "/" in item else item


def end_at_seven(item: str, place: int) -> str:
    return re.sub(r"^(?!0+-|sun-)(\w+)-sun\b", r"\1-7", item)


def number(value: str, place: int) -> int:
    names = FIELDS[place].names
    return names.index(value) + FIELDS[place].low if value in names else int(value)


STAR_IN_DAYS = with_both_days(items(DAY, WEEKDAY, rewrite=spell_stars))
CRONSIM: dict[str, Rewrite] = {
    "a field that begins with * is not restricted": STAR_IN_DAYS,
    "a/n of weekdays runs to 7": items(WEEKDAY, rewrite=stop_at_saturday),
    "a-a/n is taken for a/n": items(*range(5), rewrite=single_with_step),
    "Sunday by its name does not end a range": items(WEEKDAY, rewrite=end_at_seven),
}
CRONITER: dict[str, Rewrite] = {
    "a-a runs once around": items(*range(5), rewrite=single),
    "a list with * is not restricted": STAR_IN_DAYS,
    "7/n is 0/n": items(WEEKDAY, rewrite=only_sunday),
}


def too_long_a_step(fields: list[str]) -> bool:
    return any(
        int(step) > FIELDS[place].longest_step
        for place, field in enumerate(fields)
        for step in re.findall(r"/(\d+)", field)
    )


def runs_backwards(fields: list[str]) -> bool:
    return any(
        number(first, place) > number(last, place)
        for place, field in enumerate(fields)
        for first, last in re.findall(r"(\w+)-(\w+)", field)
    )


WE_REFUSE: dict[str, Callable[[list[str]], bool]] = {
    "six fields": lambda fields: len(fields) != 5,
    "L and #": lambda fields: any(field == "L" or "#" in field for field in fields),
    "a step longer than its field": too_long_a_step,
    "a range that runs backwards": runs_backwards,
}


def unexplained(
    question: Question,
    our_answer: str,
    answer: Callable[[Question], str],
    rules: dict[str, Rewrite],
    needed: Counter[str],
) -> str | None:
    """A difference that no rule explains; which rules were needed is counted."""
    theirs = answer(question)
    if theirs == our_answer:
        return None
    fields = [field if field == "L" else field.lower() for field in question.cron.split()]
    if our_answer == REFUSED:
        for name, applies in WE_REFUSE.items():
            if applies(fields):
                needed[name] += 1
                return None
        return f"{question}: refused by us, {theirs}"
    applied = []
    for name, rewrite in rules.items():
        rewritten = rewrite(fields)
        if rewritten != fields:
            applied.append(name)
            fields = rewritten
    meant = answer(question._replace(cron=" ".join(fields)))
    if not applied or meant != our_answer:
        return f"{question}: ours {our_answer}, theirs {theirs}, as {' '.join(fields)}: {meant}"
    if len(applied) == 1:
        needed[applied[0]] += 1
    return None


@pytest.mark.parametrize(
    ("answer", "rules", "refusals"),
    [
        (by_cronsim, CRONSIM, {"six fields", "L and #", "a step longer than its field"}),
        (by_croniter, CRONITER, set(WE_REFUSE)),
    ],
    ids=["cronsim", "croniter"],
)
def test_every_difference_to_a_library_has_a_rule(
    connection: Connection,
    answer: Callable[[Question], str],
    rules: dict[str, Rewrite],
    refusals: set[str],
) -> None:
    draw = random.Random(SEED)
    questions = []
    for _ in range(6000):
        cron = any_cron(draw)
        questions += [Question(cron, any_instant(draw)) for _ in range(2)]
    answers = ours(connection, questions)
    assert 0.6 < sum(given != REFUSED for given in answers) / len(answers) < 0.95
    needed: Counter[str] = Counter()
    differences = [
        found
        for question, given in zip(questions, answers, strict=True)
        if (found := unexplained(question, given, answer, rules, needed))
    ]
    assert differences == []
    assert set(needed) == set(rules) | refusals


def transitions(zone: str, years: range) -> list[datetime]:
    """The first minute of UTC of each new offset of a zone."""
    there = ZoneInfo(zone)
    found = []
    at = datetime(years.start, 1, 1, tzinfo=UTC)
    until = datetime(years.stop, 1, 1, tzinfo=UTC)
    while at < until:
        after = at + timedelta(days=1)
        if at.astimezone(there).utcoffset() != after.astimezone(there).utcoffset():
            minutes = range(24 * 60 + 1)
            found.append(
                next(
                    at + n * MINUTE
                    for n in minutes
                    if (at + n * MINUTE).astimezone(there).utcoffset()
                    != at.astimezone(there).utcoffset()
                )
            )
        at = after
    return found


def cron_around(draw: random.Random, there: datetime) -> str:
    """An expression that is likely to fire within hours of a time."""
    hour = (there.hour + draw.randint(-2, 2)) % 24
    minute = draw.choice(["*", "*/15", "*/7", "0", "30", "0,20,40", "15-45/10", "59", "5/25"])
    hours = draw.choice(
        ["*", "*", "*/2", "*/3", str(hour), str(hour), f"{hour},{(hour + 1) % 24}", "0-3"]
    )
    day = draw.choice(["*", "*", "*", str(there.day), "1-31/2"])
    weekday = draw.choice(["*", "*", "*", "sun", "1-6", "mon,fri"])
    return f"{minute} {hours} {day} * {weekday}"


def around(draw: random.Random, zone: str, count: int) -> Iterator[Question]:
    years = range(1969, 1970) if zone == "Pacific/Kwajalein" else range(2009, 2013)
    for transition in transitions(zone, years):
        for _ in range(count):
            shift = timedelta(seconds=draw.randint(-30 * 3600, 6 * 3600))
            yield Question(
                cron_around(draw, (transition - MINUTE).astimezone(ZoneInfo(zone))),
                transition + (shift if draw.random() < 0.7 else draw.randint(-90, 90) * MINUTE),
                zone,
            )


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York"])
def test_shifts_of_the_clock_are_as_cronsim_has_them(connection: Connection, zone: str) -> None:
    """It follows Debian's cron, whose rule is ours. Asked about the second pass of an hour, it
    answers with fixed times of the first, which have gone by.
    """
    questions = list(around(random.Random(SEED), zone, 100))
    assert len(questions) == 800
    needed: Counter[str] = Counter()
    differences = [
        found
        for question, given in zip(questions, ours(connection, questions), strict=True)
        if (found := unexplained(question, given, by_cronsim_later, CRONSIM, needed))
    ]
    assert differences == []
    gone_by = [q for q in questions if by_cronsim(q) <= told(q.after)]
    assert gone_by
    assert all(q.after.astimezone(ZoneInfo(zone)).fold for q in gone_by)


def values(field: str, place: int) -> frozenset[int]:
    """The values of a field of `cron_around`, by a reading of its own."""
    low, high = FIELDS[place].low, FIELDS[place].high
    found: set[int] = set()
    for item in field.split(","):
        span, _, step = item.partition("/")
        first, _, last = span.partition("-")
        if span == "*":
            start, stop = low, high
        else:
            start = number(first, place)
            stop = number(last, place) if last else (high if step else start)
        found.update(range(start, stop + 1, int(step or 1)))
    return frozenset(n % 7 for n in found) if place == WEEKDAY else frozenset(found)


class Oracle:
    """The written rule, minute by minute of UTC, with the clocks of Python."""

    def __init__(self, cron: str) -> None:
        self.fields = cron.split()
        self.values = [values(field, place) for place, field in enumerate(self.fields)]
        self.elapsed = self.fields[0].startswith("*") or self.fields[1].startswith("*")

    def matches(self, local: datetime) -> bool:
        minutes, hours, days, months, weekdays = self.values
        if local.minute not in minutes or local.hour not in hours or local.month not in months:
            return False
        in_days, in_weekdays = local.day in days, local.isoweekday() % 7 in weekdays
        if "*" not in (self.fields[DAY], self.fields[WEEKDAY]):
            return in_days or in_weekdays
        return in_days and in_weekdays

    def fires(self, before: datetime, local: datetime) -> bool:
        """Whether it fires at a time, with what the clock showed a minute before."""
        if self.elapsed:
            return self.matches(local)
        if self.matches(local) and not local.fold:
            return True
        skipped = before.replace(tzinfo=None) + MINUTE
        end = local.replace(tzinfo=None)
        while skipped < end:
            if self.matches(skipped):
                return True
            skipped += MINUTE
        return False


@pytest.mark.parametrize(
    "zone",
    [
        "UTC",
        "Europe/Berlin",
        "Europe/Dublin",
        "Europe/Lisbon",
        "America/New_York",
        "America/St_Johns",
        "America/Santiago",
        "America/Sao_Paulo",
        "Africa/Casablanca",
        "Africa/Cairo",
        "Asia/Tehran",
        "Asia/Gaza",
        "Antarctica/Troll",
        "Australia/Lord_Howe",
        "Pacific/Apia",
        "Pacific/Kwajalein",
    ],
)
def test_each_minute_around_a_shift_follows_the_written_rule(
    connection: Connection, zone: str
) -> None:
    draw = random.Random(SEED)
    there = ZoneInfo(zone)
    questions: list[Question] = list(around(draw, zone, 40))
    if zone == "UTC":
        start = datetime(2012, 2, 28, tzinfo=UTC)
        questions = [
            Question(cron_around(draw, start), start + n * 17 * MINUTE) for n in range(100)
        ]
    clocks: dict[datetime, datetime] = {}

    def clock(at: datetime) -> datetime:
        if at not in clocks:
            clocks[at] = at.astimezone(there)
        return clocks[at]

    differences: list[Any] = []
    for question, given in zip(questions, ours(connection, questions), strict=True):
        oracle = Oracle(question.cron)
        at = question.after.replace(second=0)
        until = at + timedelta(days=3)
        expected = None
        while expected is None and at < until:
            at += MINUTE
            if oracle.fires(clock(at - MINUTE), clock(at)):
                expected = told(at)
        if given != expected and (expected or given <= told(until)):
            differences.append((question, given, expected))
    assert differences == []
    assert len(questions) >= 40
