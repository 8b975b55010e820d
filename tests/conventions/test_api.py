"""The public surface, written down: what changes here changes for every caller.

To accept a change: TIDE_TEST_WRITE_API=1 pytest tests/conventions/test_api.py
"""

from __future__ import annotations

import os
from pathlib import Path

from tests.support import Connection

WRITTEN = Path(__file__).with_name("api.txt")

SURFACE = """
select
  p.proname || '(' || pg_get_function_arguments(p.oid) || ')'
    || coalesce(' returns ' || pg_get_function_result(p.oid), '') as line
from pg_proc as p
where p.pronamespace = 'tide'::regnamespace
  and p.proname !~ '^_'
union all
select
  case c.relkind when 'v' then 'view ' when 'c' then 'type ' else 'rows ' end
    || c.relname
    || '('
    || string_agg(
      a.attname || ' ' || format_type(a.atttypid, a.atttypmod), ', ' order by a.attnum
    )
    || ')'
from pg_class as c
join pg_attribute as a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
where c.relnamespace = 'tide'::regnamespace
  and c.relname in ('runs', 'steps', 'events', 'queues', 'enqueued', 'queue_stats')
group by
  c.relkind,
  c.relname
order by 1
"""


def test_the_surface_is_what_is_written_down(connection: Connection) -> None:
    connection.execute("set search_path = pg_catalog")
    surface = [row.line for row in connection.execute(SURFACE.encode())]
    if os.environ.get("TIDE_TEST_WRITE_API") == "1":
        WRITTEN.write_text("".join(f"{line}\n" for line in surface))
    assert surface == WRITTEN.read_text().splitlines(), (
        "the public surface has changed; additions are welcome, anything else breaks callers. "
        "To accept: TIDE_TEST_WRITE_API=1 pytest tests/conventions/test_api.py"
    )
