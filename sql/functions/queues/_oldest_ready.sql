create or replace function tide._oldest_ready(queue text)
returns setof timestamptz
language plpgsql
stable
as $$
declare
  v_priority integer;
  v_run_at timestamptz;
begin
  select
    (case when r.turn_at is null then r.priority else 0 end),
    r.run_at
  into v_priority, v_run_at
  from tide.runs_active as r
  where r.ready
    and r.queue = _oldest_ready.queue
  order by
    r.queue,
    (case when r.turn_at is null then r.priority else 0 end) desc,
    coalesce(r.turn_at, r.run_at)
  limit 1;
  while v_priority is not null loop
    return next v_run_at;
    select
      (case when r.turn_at is null then r.priority else 0 end),
      r.run_at
    into v_priority, v_run_at
    from tide.runs_active as r
    where r.ready
      and r.queue = _oldest_ready.queue
      and (case when r.turn_at is null then r.priority else 0 end) < v_priority
    order by
      r.queue,
      (case when r.turn_at is null then r.priority else 0 end) desc,
      coalesce(r.turn_at, r.run_at)
    limit 1;
  end loop;
end;
$$;

comment on function tide._oldest_ready is
  'The time of the first ready run of each priority of a queue: one look at the index for each.';
