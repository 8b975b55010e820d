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
  v_candidates constant integer[] := array(
    select p.purse
    from tide.purses as p
    where p.allowance_id = allowance.allowance_id
    order by
      case when p.began_at < v_window then p.share else p.free end desc,
      p.purse
  );
  v_purse constant integer := coalesce(
    tide._lock_purse(allowance.allowance_id, v_candidates), v_candidates[1]
  );
begin
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
