create or replace function tide._breaker_of(lane tide.lanes)
returns table (failures bigint, failure text)
language plpgsql
stable
as $$
begin
  if lane.breaker_failures is null then
    return query select null::bigint, null::text;
    return;
  end if;
  return query
  select
    case
      when _breaker_of.lane.opened_at is null or count(*) = 0 then count(*)
      else _breaker_of.lane.breaker_failures + _breaker_of.lane.probes
    end,
    (array_agg(concat_ws(': ', f.class, f.message) order by f.failure_id desc))[1]
  from tide.lane_failures as f
  where f.lane = _breaker_of.lane.lane;
end;
$$;

comment on function tide._breaker_of is
  'The failures in a row of a lane with a breaker, with the failed probes of an open one, and the last '
  'failure; null = it has no breaker.';
