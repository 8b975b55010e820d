-- Of the part that holds most, so that none is negative as long as there is enough.
create or replace function tide._overdraw(allowance tide.allowances, amount numeric)
returns void
language plpgsql
volatile
as $$
declare
  v_window constant timestamptz := tide._window_start(
    allowance.per, allowance.time_zone, tide._now()
  );
  v_purse integer := (
    select p.purse
    from tide.purses as p
    where p.allowance_id = allowance.allowance_id
    order by
      case when p.began_at < v_window then p.share else p.free end desc,
      p.purse
    for no key update skip locked
    limit 1
  );
begin
  if v_purse is null then
    -- All are locked, so it waits for the one that seems to hold most.
    v_purse := (
      select p.purse
      from tide.purses as p
      where p.allowance_id = allowance.allowance_id
      order by
        case when p.began_at < v_window then p.share else p.free end desc,
        p.purse
      limit 1
    );
  end if;
  update tide.purses as p
  set
    free = case when p.began_at < v_window then p.share else p.free end - _overdraw.amount,
    began_at = greatest(p.began_at, v_window)
  where p.allowance_id = allowance.allowance_id
    and p.purse = v_purse;
end;
$$;

comment on function tide._overdraw is
  'Take what was spent beyond what was reserved from an allowance, whatever is left of it.';
