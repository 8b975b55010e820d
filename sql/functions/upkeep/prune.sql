-- Without statistics the planner would sort all that may go, and ask for each whether it may.
create or replace function tide.prune(
  older_than interval default null,
  max_runs integer default 1000,
  queue text default null
)
returns integer
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
as $$
declare
  v_max constant integer := tide._valid_integer('max_runs', prune.max_runs, 1, 100000);
  v_before timestamptz;
  v_queue text;
  v_removed integer;
begin
  perform tide._require_read_committed('prune');
  if prune.older_than is null then
    if prune.queue is not null then
      raise exception 'queue % is given without older_than', quote_literal(left(prune.queue, 200))
        using errcode = '22023',
              hint = 'Give both, or neither to apply the retention of all queues.';
    end if;
    return tide._retain(v_max);
  end if;
  v_before := tide._now()
    - tide._valid_interval('older_than', prune.older_than, '0', '36500 days');
  if prune.queue is not null then
    v_queue := tide._valid_name('queue', prune.queue);
    perform tide._require_queue(v_queue);
    return tide._prune(v_queue, v_before, v_max, tide._retention_keeps(v_queue));
  end if;
  v_removed := tide._prune(null, v_before, v_max, '{}');
  foreach v_queue in array tide._finished_queues() loop
    exit when v_removed >= v_max;
    continue when not tide._may_use(v_queue);
    v_removed := v_removed + tide._prune(
      v_queue, v_before, v_max - v_removed, tide._retention_keeps(v_queue)
    );
  end loop;
  return v_removed;
end;
$$;

comment on function tide.prune is
  'Remove up to max_runs finished runs, oldest first, with all that belongs to them: those that ended '
  'longer than older_than ago, or, without it, as the retention of their queues says. Returns how '
  'many went; call again while it is max_runs.';
