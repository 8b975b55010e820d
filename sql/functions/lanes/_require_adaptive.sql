create or replace function tide._require_adaptive(lane tide.lanes)
returns void
language plpgsql
immutable
parallel safe
as $$
begin
  if not coalesce(lane.adaptive, false) then
    return;
  elsif lane.total is null then
    raise exception 'adaptive is given without total'
      using errcode = '22023',
            hint = 'Give total too: the limit that it is never above.';
  elsif lane.adaptive_min > lane.total then
    raise exception 'adaptive_min is above total: % > %', lane.adaptive_min, lane.total
      using errcode = '22023',
            hint = 'Without a value it is 1.';
  end if;
end;
$$;

comment on function tide._require_adaptive is
  'Refuse settings of an adaptive limit that do not go together: 22023.';
