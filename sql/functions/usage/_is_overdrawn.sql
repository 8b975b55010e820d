create or replace function tide._is_overdrawn(allowance_id uuid, began_at timestamptz)
returns boolean
language plpgsql
volatile
as $$
begin
  return exists (
    select
    from tide.purses as p
    where p.allowance_id = _is_overdrawn.allowance_id
      and p.free < 0
      and p.began_at >= _is_overdrawn.began_at
  );
end;
$$;

comment on function tide._is_overdrawn is
  'Whether more was spent of an allowance than it had, in the window that began at a time.';
