create or replace function tide._throttled_until(lane text)
returns timestamptz
language plpgsql
volatile
as $$
begin
  return (
    select l.throttled_until
    from tide.lanes as l
    where l.lane = _throttled_until.lane
      and l.throttled_until > tide._now()
  );
end;
$$;

comment on function tide._throttled_until is
  'Until when a lane gives nothing; null = it is not throttled.';
