create or replace function tide._closed_to_login(run_id uuid, closed text[])
returns boolean
language plpgsql
stable
as $$
begin
  return closed <> '{}' and exists (
    select
    from tide.runs as r
    where r.run_id = _closed_to_login.run_id
      and r.queue = any (_closed_to_login.closed)
  );
end;
$$;

comment on function tide._closed_to_login is
  'Whether the run is in one of the queues that are closed to the login.';
