create or replace function tide.list_snapshots(run_id uuid)
returns setof tide.state_versions
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
begin
  perform tide._require_run(list_snapshots.run_id);
  perform tide._find_run(list_snapshots.run_id);
  return query
  select v.*
  from tide.state_versions as v
  where v.run_id = list_snapshots.run_id
    and v.label is not null
  order by
    v.created_at desc,
    v.stream,
    v.version desc;
end;
$$;

comment on function tide.list_snapshots is 'Labelled versions of all streams of a run, newest first.';
