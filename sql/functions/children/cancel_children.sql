create or replace function tide.cancel_children(run_id uuid, max_runs integer default 1000)
returns integer
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
begin
  perform tide._require_read_committed('cancel_children');
  perform tide._require_run(cancel_children.run_id);
  perform tide._find_run(cancel_children.run_id);
  return tide._cancel_children(
    cancel_children.run_id,
    tide._valid_integer('max_runs', cancel_children.max_runs, 1, 10000)
  );
end;
$$;

comment on function tide.cancel_children is
  'Let active children follow a cancelled run, or a failed one if they have not begun, at once, in a '
  'transaction of their own; upkeep does it otherwise. Returns how many were cancelled: repeat until '
  '0. Unknown run: TD010.';
