-- In SQL, so that it is inlined.
create or replace function tide._require_read_committed(function text)
returns boolean
language sql
stable
as $$
select pg_catalog.current_setting('transaction_isolation')
    operator(pg_catalog.=) any (array['read committed', 'read uncommitted'])
  or tide._refuse_isolation(_require_read_committed.function)
$$;

comment on function tide._require_read_committed is
  'True, or 25001: where a decision needs a snapshot newer than the transaction.';
