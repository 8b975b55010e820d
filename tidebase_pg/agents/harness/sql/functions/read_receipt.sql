create or replace function tide_harness.read_receipt(operation_id text)
returns table (
  fingerprint text,
  version text,
  existed boolean
)
language sql
stable
parallel safe
security definer
set search_path = pg_catalog, pg_temp
as $$
  select
    r.fingerprint,
    r.version::text,
    r.existed
  from tide_harness.receipts as r
  where r.operation_id = read_receipt.operation_id
$$;

comment on function tide_harness.read_receipt is 'What came of an operation that was done.';
