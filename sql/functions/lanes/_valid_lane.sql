create or replace function tide._valid_lane(
  queue text,
  lane text,
  lane_key text,
  prefix text default ''
)
returns text
language plpgsql
stable
as $$
begin
  if lane is null and lane_key is not null then
    raise exception '%lane_key is given without a lane: %',
        _valid_lane.prefix, quote_literal(left(_valid_lane.lane_key, 200))
      using errcode = '22023',
            hint = 'Give the lane too.';
  elsif lane is not null and queue is null then
    raise exception '%lane is given for a run without a queue: %',
        _valid_lane.prefix, quote_literal(left(_valid_lane.lane, 200))
      using errcode = '22023',
            hint = 'Give a queue: lanes hold for claims.';
  end if;
  if lane_key is not null then
    perform tide._valid_text(_valid_lane.prefix || 'lane_key', _valid_lane.lane_key, 256);
  end if;
  return case when lane is not null then tide._require_lane(_valid_lane.lane) end;
end;
$$;

comment on function tide._valid_lane is
  'The lane of a run to be made, null = none; unknown: TD010, without a queue, or a key alone: 22023.';
