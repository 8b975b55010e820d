create or replace function tide._followed(run_ids uuid[])
returns setof uuid
language sql
stable
as $$
select c.run_id
from tide.channels as c
where c.run_id operator(pg_catalog.=) any (_followed.run_ids)
union all
select w.run_id
from tide.watchers as w
where w.run_id operator(pg_catalog.=) any (_followed.run_ids)
$$;

comment on function tide._followed is
  'Which of the runs have channels or watchers, so that somebody is to be told of their events.';
