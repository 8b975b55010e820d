create or replace function tide._line_most(lane tide.lanes, lane_key text)
returns integer
language sql
immutable
parallel safe
as $$
select
  case
    when _line_most.lane_key operator(pg_catalog.=) ''
      then least((_line_most.lane).total, (_line_most.lane).adaptive_limit)
    else (_line_most.lane).per_key
  end
$$;

comment on function tide._line_most is
  'How many runs of a line of a lane may run at once now; null = any number.';
