-- Written so that one plan is good for all conditions: each place, a thread and a namespace in it,
-- is read backwards from its newest checkpoint that may do.
create or replace function tide_langgraph._found(
  thread_id text,
  checkpoint_ns text,
  checkpoint_id text,
  filter jsonb,
  before text,
  max_checkpoints integer
)
returns table (
  thread text,
  thread_no bigint,
  namespace text,
  id text,
  parent text,
  checkpoint jsonb,
  metadata jsonb
)
language plpgsql
stable
rows 1
as $$
declare
  v_thread_nos bigint[];
begin
  if _found.thread_id is null then
    v_thread_nos := array(select t.thread_no from tide_langgraph.threads as t);
  else
    v_thread_nos := array(
      select t.thread_no
      from tide_langgraph.threads as t
      where t.thread_id = _found.thread_id
    );
  end if;
  return query
  select
    t.thread_id,
    c.*
  from tide_langgraph.threads as t
  cross join lateral (
    select _found.checkpoint_ns as name
    where _found.checkpoint_ns is not null
    union all
    select distinct n.checkpoint_ns
    from tide_langgraph.checkpoints as n
    where _found.checkpoint_ns is null
      and n.thread_no = t.thread_no
  ) as n
  cross join lateral (
    select max(l.checkpoint_id) as id
    from tide_langgraph.checkpoints as l
    where l.thread_no = t.thread_no
      and l.checkpoint_ns = n.name
  ) as l
  cross join lateral (
    select k.*
    from tide_langgraph.checkpoints as k
    where k.thread_no = t.thread_no
      and k.checkpoint_ns = n.name
      and k.checkpoint_id >= coalesce(_found.checkpoint_id, '')
      and k.checkpoint_id <= coalesce(_found.checkpoint_id, _found.before, l.id)
      and (_found.before is null or k.checkpoint_id < _found.before)
      and (_found.filter is null or k.metadata @> _found.filter)
    order by k.checkpoint_id desc
    limit _found.max_checkpoints
  ) as c
  where t.thread_no = any(v_thread_nos)
  order by c.checkpoint_id desc
  limit _found.max_checkpoints;
end;
$$;

comment on function tide_langgraph._found is 'The checkpoints that meet all conditions, newest first.';
