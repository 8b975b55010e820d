create or replace function tide_harness.delete_old_receipts(
  age interval,
  max_receipts integer default 1000
)
returns integer
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_since constant timestamptz := tide_harness._idle_since(delete_old_receipts.age);
  v_deleted integer;
begin
  delete from tide_harness.receipts as r
  using (
    select o.operation_id
    from tide_harness.receipts as o
    where o.made_at < v_since
    order by o.made_at
    limit delete_old_receipts.max_receipts
    for update skip locked
  ) as o
  where r.operation_id = o.operation_id;
  get diagnostics v_deleted = row_count;
  return v_deleted;
end;
$$;

comment on function tide_harness.delete_old_receipts is
  'Forget operations that were done so long ago, the oldest first, and return how many. Call it until it '
  'answers 0.';
