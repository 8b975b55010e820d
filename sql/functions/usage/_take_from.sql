create or replace function tide._take_from(
  allowance_id uuid,
  purse integer,
  window_start timestamptz,
  asked numeric,
  waits boolean
)
returns table (locked boolean, began_at timestamptz)
language plpgsql
volatile
as $$
declare
  v_purse tide.purses;
  v_taken_of timestamptz;
begin
  if waits then
    v_purse := (
      select p
      from tide.purses as p
      where p.allowance_id = _take_from.allowance_id
        and p.purse = _take_from.purse
      for no key update
    );
  else
    v_purse := (
      select p
      from tide.purses as p
      where p.allowance_id = _take_from.allowance_id
        and p.purse = _take_from.purse
      for no key update skip locked
    );
  end if;
  if v_purse.allowance_id is null then
    return query select false, null::timestamptz;
    return;
  end if;
  if v_purse.began_at < window_start then
    v_purse.began_at := window_start;
    v_purse.free := v_purse.share;
  end if;
  if v_purse.free < asked then
    return query select true, null::timestamptz;
    return;
  end if;
  update tide.purses as p
  set
    free = v_purse.free - _take_from.asked,
    began_at = v_purse.began_at
  where p.allowance_id = _take_from.allowance_id
    and p.purse = _take_from.purse
    -- What another part lacks may be what this one has.
    and not exists (
      select
      from tide.purses as o
      where o.allowance_id = _take_from.allowance_id
        and o.free < 0
        and o.began_at >= _take_from.window_start
    )
  returning p.began_at into v_taken_of;
  return query select true, v_taken_of;
end;
$$;

comment on function tide._take_from is
  'Take an amount from one part of an allowance: whether it is locked now, and when the window began the '
  'amount is of; null = it holds too little, or another part less than nothing.';
