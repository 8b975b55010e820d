create or replace function tide._next_expiry(now timestamptz)
returns timestamptz
language plpgsql
stable
as $$
declare
  v_until timestamptz;
  v_running bigint;
begin
  -- Leases are in no index, so that heartbeats stay HOT; of many, one ends at any moment.
  select
    min(l.leased_until),
    count(*)
  into v_until, v_running
  from (
    select r.leased_until
    from tide.runs_active as r
    where r.status = 'running'
      and r.queue is not null
    limit 1000
  ) as l;
  return case
    when v_running = 1000 then least(v_until, _next_expiry.now + interval '1 second')
    else v_until
  end;
end;
$$;

comment on function tide._next_expiry is 'When the next lease of a queue run may end.';
