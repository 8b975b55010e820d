create or replace function tide._open_purses(allowance_id uuid, since timestamptz)
returns table (began_at timestamptz, free numeric)
language plpgsql
volatile
as $$
begin
  perform
  from tide.purses as p
  where p.allowance_id = _open_purses.allowance_id
  order by p.purse
  for no key update;
  return query
  select
    w.began_at,
    sum(case when p.began_at < w.began_at then p.share else p.free end)
  from (
    select greatest(_open_purses.since, max(n.began_at)) as began_at
    from tide.purses as n
    where n.allowance_id = _open_purses.allowance_id
  ) as w
  cross join tide.purses as p
  where p.allowance_id = _open_purses.allowance_id
  group by w.began_at;
end;
$$;

comment on function tide._open_purses is
  'Lock all parts of an allowance, whose row the caller has locked: what they hold together in the window '
  'that began at a time, or in a later one that another caller has seen.';
