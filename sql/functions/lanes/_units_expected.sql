-- What comes free is used by those ahead, so what is missing beyond all units waits for a whole period
-- more.
create or replace function tide._units_expected(
  lane text,
  lane_key text,
  units bigint,
  period interval,
  missing numeric
)
returns timestamptz
language plpgsql
stable
as $$
declare
  v_now constant timestamptz := tide._now();
  v_periods constant integer := greatest(ceil(missing / units) - 1, 0);
  v_at timestamptz;
begin
  select c.charged_at + _units_expected.period
  into v_at
  from (
    select
      u.charged_at,
      sum(u.units) over (order by u.charged_at) as free
    from tide._charged(
      _units_expected.lane, _units_expected.lane_key, v_now - _units_expected.period
    ) as u
  ) as c
  where c.free >= _units_expected.missing - v_periods * _units_expected.units
  order by c.free
  limit 1;
  return coalesce(v_at, v_now) + v_periods * _units_expected.period;
end;
$$;

comment on function tide._units_expected is
  'When so many units of a line that are missing are expected to be free, if nothing is given back before.';
