create or replace function tide._is_answered(lane text)
returns boolean
language plpgsql
stable
as $$
begin
  return not exists (
    select
    from tide.lane_failures as f
    where f.lane = _is_answered.lane
  );
end;
$$;

comment on function tide._is_answered is
  'Whether no failure is noted of a lane: of an open one because its probe has succeeded.';
