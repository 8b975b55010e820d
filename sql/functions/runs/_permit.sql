-- Of no use in another transaction, and nobody gets from it to the lease.
create or replace function tide._permit(lease_id uuid)
returns uuid
language plpgsql
volatile
as $$
begin
  return substring(
    encode(
      sha256(convert_to(concat(_permit.lease_id, ' ', pg_current_xact_id()), 'UTF8')), 'hex'
    )
    for 32
  )::uuid;
end;
$$;

comment on function tide._permit is
  'What hold_run answers instead of a lease_id: it holds the lease until the transaction ends.';
