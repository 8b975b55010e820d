create or replace function tide.list_usage(run_id uuid, max_records integer default 1000)
returns setof tide.usage
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_limit constant integer := tide._valid_integer(
    'max_records', list_usage.max_records, 1, 10000
  );
begin
  perform tide._require_run(list_usage.run_id);
  perform tide._find_run(list_usage.run_id);
  return query
  select u.*
  from tide.usage as u
  where u.run_id = list_usage.run_id
  order by u.usage_id
  limit v_limit;
end;
$$;

comment on function tide.list_usage is 'What a run spent, record by record, oldest first.';
