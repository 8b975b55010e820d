create or replace function tide._units_of(lane text, lane_key text)
returns bigint
language plpgsql
volatile
as $$
begin
  return (
    select case when _units_of.lane_key = '' then l.units else l.units_per_key end
    from tide.lanes as l
    where l.lane = _units_of.lane
  );
end;
$$;

comment on function tide._units_of is
  'How many units the runs of a line of a lane may use within a period; null = any number.';
