-- Who holds all parts, and the row of the allowance, which set_allowance holds too, is the only one to
-- take, to give back and to say that too little is left: nobody who gives back misses a run that is
-- parked by it.
create or replace function tide._take_all(
  allowance tide.allowances,
  began_at timestamptz,
  asked numeric
)
returns timestamptz
language plpgsql
volatile
as $$
declare
  v_window timestamptz;
  v_free numeric;
begin
  perform
  from tide.allowances as a
  where a.allowance_id = allowance.allowance_id
    and a.scope = allowance.scope
    and a.unit = allowance.unit
    and a.per = allowance.per
  for no key update;
  if not found then
    -- It was dropped meanwhile: nothing limits any more.
    return timestamptz 'infinity';
  end if;
  select
    o.began_at,
    o.free
  into
    v_window,
    v_free
  from tide._open_purses(allowance.allowance_id, _take_all.began_at) as o;
  if v_free < _take_all.asked then
    return null;
  end if;
  perform tide._spread(
    allowance.allowance_id, v_window, v_free - _take_all.asked, _take_all.asked
  );
  return v_window;
end;
$$;

comment on function tide._take_all is
  'Take an amount from all parts of an allowance together, and spread what is left; null = too little.';
