create or replace function tide._require_read_committed(function text)
returns boolean
language plpgsql
stable
as $$
begin
  if current_setting('transaction_isolation') in ('read committed', 'read uncommitted') then
    return true;
  end if;
  raise exception 'tide.% cannot run under isolation level %', _require_read_committed.function,
      current_setting('transaction_isolation')
    using errcode = '25001',
          hint = 'Call it in a READ COMMITTED transaction: it must see what others committed '
                 'since yours began.';
end;
$$;

comment on function tide._require_read_committed is
  'True, or 25001: where a decision needs a snapshot newer than the transaction.';
