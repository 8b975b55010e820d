create or replace function tide._units_used(lane text, lane_key text)
returns bigint
language plpgsql
stable
as $$
begin
  return (
    select coalesce(sum(c.units), 0)
    from tide.lanes as l
    cross join tide._charged(l.lane, _units_used.lane_key, tide._now() - l.period) as c
    where l.lane = _units_used.lane
  );
end;
$$;

comment on function tide._units_used is 'What a line of a lane has used within the last period.';
