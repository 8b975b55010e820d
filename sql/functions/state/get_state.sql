create or replace function tide.get_state(run_id uuid, stream text default 'run')
returns tide.state_streams
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_state tide.state_streams;
begin
  perform tide._require_run(get_state.run_id);
  perform tide._find_run(get_state.run_id);
  v_state := (
    select s
    from tide.state_streams as s
    where s.run_id = get_state.run_id
      and s.stream = get_state.stream
  );
  return v_state;
end;
$$;

comment on function tide.get_state is
  'The current value and version of a state stream; nulls while nothing was written.';
