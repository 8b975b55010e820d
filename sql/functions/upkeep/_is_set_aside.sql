create or replace function tide._is_set_aside(sweep text, key anyelement, now timestamptz)
returns boolean
language plpgsql
stable
as $$
begin
  return exists (
    select
    from tide.sweep_failures as f
    where f.sweep = _is_set_aside.sweep
      and f.key = _is_set_aside.key::text
      and f.retry_at > _is_set_aside.now
  );
end;
$$;

comment on function tide._is_set_aside is 'Whether a sweep failed on this row a short while ago.';
