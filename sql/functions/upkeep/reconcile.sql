-- Neither security definer nor SET: Postgres forbids COMMIT under both. It only loops and commits;
-- the work is in tide._sweep. The first COMMIT fails at once inside a transaction block, instead of
-- half-way. One call works at a time, by a row that is locked within each batch.
create or replace procedure tide.reconcile(
  batch integer default 100,
  budget interval default '5 seconds',
  inout report jsonb default null
)
language plpgsql
as $$
declare
  v_sweep text;
  v_handled integer;
  v_total integer;
  v_until timestamptz;
begin
  set local search_path to pg_catalog, pg_temp;
  perform tide._valid_integer('batch', reconcile.batch, 1, 10000);
  perform tide._valid_interval('budget', reconcile.budget, '10 milliseconds', '1 hour');
  commit;
  v_until := pg_catalog.clock_timestamp() operator(pg_catalog.+) reconcile.budget;
  reconcile.report := '{}';
  foreach v_sweep in array tide._sweeps(every_tick => false) loop
    v_total := 0;
    loop
      commit;
      set transaction isolation level read committed;
      set local search_path to pg_catalog, pg_temp;
      v_handled := tide._sweep(v_sweep, reconcile.batch, alone => true);
      if v_handled is null then
        reconcile.report := reconcile.report
          operator(pg_catalog.||) pg_catalog.jsonb_build_object(v_sweep, v_total, 'busy', true);
        rollback;
        return;
      end if;
      commit;
      v_total := v_total operator(pg_catalog.+) v_handled;
      exit when v_handled operator(pg_catalog.=) 0
        or pg_catalog.clock_timestamp() operator(pg_catalog.>) v_until;
    end loop;
    reconcile.report := reconcile.report
      operator(pg_catalog.||) pg_catalog.jsonb_build_object(v_sweep, v_total);
  end loop;
end;
$$;

comment on procedure tide.reconcile is
  'All upkeep, in bounded batches each committed on its own: expired leases, deadlines, due runs, '
  'leaked slots, counts. Call it from anywhere at any rate, in autocommit; report says what was done.';
