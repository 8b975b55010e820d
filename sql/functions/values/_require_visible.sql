create or replace function tide._require_visible(thing text)
returns boolean
language plpgsql
stable
as $$
begin
  if current_setting('transaction_isolation') in ('read committed', 'read uncommitted') then
    return true;
  end if;
  raise exception '% is not visible to this transaction under isolation level %',
      _require_visible.thing, current_setting('transaction_isolation')
    using errcode = '25001',
          hint = 'Call it in a READ COMMITTED transaction: others may have committed it since '
                 'yours began.';
end;
$$;

comment on function tide._require_visible is
  'True, or 25001: what an older snapshot does not show may be there.';
