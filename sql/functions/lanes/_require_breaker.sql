create or replace function tide._require_breaker(lane tide.lanes)
returns void
language plpgsql
immutable
parallel safe
as $$
begin
  if lane.breaker_failures is not null and lane.breaker_classes is null then
    raise exception 'breaker_failures is given without breaker_classes: %', lane.breaker_failures
      using errcode = '22023',
            hint = 'Give breaker_classes too: the types of errors, or failure classes, that count.';
  elsif coalesce(lane.breaker_delay, '30 seconds') > coalesce(lane.breaker_max_delay, '10 minutes')
  then
    raise exception 'breaker_delay is longer than breaker_max_delay: % > %',
        coalesce(lane.breaker_delay, '30 seconds'), coalesce(lane.breaker_max_delay, '10 minutes')
      using errcode = '22023',
            hint = 'Without a value they are 30 seconds and 10 minutes.';
  end if;
end;
$$;

comment on function tide._require_breaker is
  'Refuse settings of a breaker that do not go together: 22023.';
