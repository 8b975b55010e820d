create or replace function tide.list_allowances(scopes text[] default null)
returns table (
  scope text,
  unit text,
  per text,
  time_zone text,
  amount numeric,
  estimate numeric,
  spent numeric,
  reserved numeric,
  left_over numeric,
  waiting bigint,
  began_at timestamptz,
  resets_at timestamptz
)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
begin
  return query
  select
    a.scope,
    a.unit,
    a.per,
    a.time_zone,
    a.amount,
    a.estimate,
    trim_scale(a.amount - l.rest - r.amount),
    trim_scale(r.amount),
    greatest(l.rest, 0),
    w.waiting,
    nullif(b.began_at, '-infinity'),
    tide._window_end(a.per, a.time_zone, b.began_at)
  from tide.allowances as a
  cross join lateral (
    select tide._window_start(a.per, a.time_zone, tide._now()) as began_at
  ) as b
  cross join lateral (
    select tide._allowance_left(a) as rest
  ) as l
  cross join lateral (
    select coalesce(sum(m.amount), 0) as amount
    from tide.reserved_amounts as m
    where m.holder_id = a.allowance_id
      and m.began_at >= b.began_at
  ) as r
  cross join lateral (
    select count(*) as waiting
    from (
      select
      from tide.budget_waits as n
      where n.holder_id = a.allowance_id
        and n.woken_at is null
      limit 10001
    ) as c
  ) as w
  where list_allowances.scopes is null
    or a.scope = any (list_allowances.scopes)
  order by
    a.scope,
    a.unit,
    a.per;
end;
$$;

comment on function tide.list_allowances is
  'The allowances, of all scopes or of some: amount, and in the window from began_at to resets_at what is '
  'spent, reserved by steps under way and left_over; how many runs wait, counted to 10001.';
