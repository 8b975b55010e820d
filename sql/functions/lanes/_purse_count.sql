create or replace function tide._purse_count(lane_key text)
returns integer
language plpgsql
immutable
parallel safe
as $$
begin
  return case when _purse_count.lane_key = '' then 16 else 4 end;
end;
$$;

comment on function tide._purse_count is
  'Into how many purses the units of a line of a lane are divided: so many claims charge it at once.';
