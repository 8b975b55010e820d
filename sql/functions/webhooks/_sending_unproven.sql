create or replace function tide._sending_unproven()
returns integer
language plpgsql
stable
as $$
begin
  return (
    select count(*)
    from tide.deliveries as d
    join tide.endpoints as e on e.endpoint = d.endpoint
    where d.status = 'pending'
      and d.lease_id is not null
      and d.due_at > tide._now()
      and not e.proven
  );
end;
$$;

comment on function tide._sending_unproven is
  'How many deliveries are on their way to endpoints that have not answered well.';
