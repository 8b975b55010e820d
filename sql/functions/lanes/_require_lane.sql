create or replace function tide._require_lane(lane text)
returns text
language plpgsql
stable
as $$
begin
  perform
  from tide.lanes as l
  where l.lane = _require_lane.lane;
  if not found then
    raise exception 'lane % does not exist',
        coalesce(quote_literal(left(_require_lane.lane, 200)), 'null')
      using errcode = 'TD010',
            hint = 'See list_lanes; set_lane makes one.';
  end if;
  return lane;
end;
$$;

comment on function tide._require_lane is
  'The name of a lane that is set; otherwise TD010: a misspelt lane would limit nothing.';
