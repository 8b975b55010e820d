create or replace function tide._line_limit(lane text, lane_key text)
returns integer
language plpgsql
volatile
as $$
begin
  return (
    select case when _line_limit.lane_key = '' then l.total else l.per_key end
    from tide.lanes as l
    where l.lane = _line_limit.lane
  );
end;
$$;

comment on function tide._line_limit is
  'How many runs of a line of a lane may run at once; null = any number, also where the lane was dropped.';
