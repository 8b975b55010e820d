create or replace function tide._refuse_isolation(function text)
returns boolean
language plpgsql
stable
as $$
begin
  raise exception 'tide.% cannot run under isolation level %', _refuse_isolation.function,
      current_setting('transaction_isolation')
    using errcode = '25001',
          hint = 'Call it in a READ COMMITTED transaction: it must see what others committed '
                 'since yours began.';
end;
$$;

comment on function tide._refuse_isolation is
  '25001: the function needs a snapshot newer than the transaction.';
