-- The caller has locked the row of the lane, for a line of a key that of its turn, so nobody else makes
-- these purses.
create or replace function tide._make_purses(lane text, lane_key text)
returns void
language plpgsql
volatile
as $$
begin
  insert into tide.lane_purses (lane, lane_key, purse, looked_at)
  select
    _make_purses.lane,
    _make_purses.lane_key,
    n.purse,
    tide._now()
  from generate_series(1, tide._purse_count(_make_purses.lane_key)) as n(purse)
  where not exists (
    select
    from tide.lane_purses as p
    where p.lane = _make_purses.lane
      and p.lane_key = _make_purses.lane_key
      and p.purse = n.purse
  )
  order by n.purse;
end;
$$;

comment on function tide._make_purses is 'Make the purses of a line of a lane that are missing.';
