-- After a failover each lease gets its length once more: renewals of before may have been lost.
create or replace function tide._leased_until(
  run_id uuid,
  lease_id uuid,
  lease interval,
  leased_until timestamptz
)
returns timestamptz
language plpgsql
stable
as $$
begin
  return greatest(
    _leased_until.leased_until,
    (
      select max(b.leased_until)
      from tide.lease_renewals as b
      where b.run_id = _leased_until.run_id
        and b.lease_id = _leased_until.lease_id
    ),
    (
      select i.failed_over_at + _leased_until.lease
      from tide.identity as i
    )
  );
end;
$$;

comment on function tide._leased_until is
  'When a lease ends: as its row says, or later where it was renewed beside it or a failover came.';
