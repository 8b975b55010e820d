create or replace function tide.state_versions(
  run_id uuid,
  stream text default null,
  labeled boolean default null
)
returns setof tide.state_versions
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
begin
  perform tide._require_run(state_versions.run_id);
  perform tide._find_run(state_versions.run_id);
  return query
  select v.*
  from tide.state_versions as v
  where v.run_id = state_versions.run_id
    and (state_versions.stream is null or v.stream = state_versions.stream)
    and (
      state_versions.labeled is null
      or state_versions.labeled = (v.label is not null)
    )
  order by
    v.stream,
    v.version;
end;
$$;

comment on function tide.state_versions is
  'The versions of one state stream or all, oldest first; labeled true = only those with a label.';
