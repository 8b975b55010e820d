create or replace function tide._lock_purse(allowance_id uuid, candidates integer[])
returns integer
language plpgsql
volatile
as $$
declare
  v_purse integer;
begin
  foreach v_purse in array candidates loop
    perform
    from tide.purses as p
    where p.allowance_id = _lock_purse.allowance_id
      and p.purse = v_purse
    for no key update skip locked;
    if found then
      return v_purse;
    end if;
  end loop;
  return null;
end;
$$;

comment on function tide._lock_purse is
  'Lock the first of some parts of an allowance that nobody else has locked; null = all are.';
