-- Reads first: an insert would wait for any open transaction that updated the run with this key.
-- When the insert meets a run that is gone in the next look, another round goes on; each further
-- round takes another run's whole life, so the bound is never met by chance.
create or replace function tide._enqueue(
  run tide.new_run,
  channels jsonb default null
)
returns tide.enqueued
language plpgsql
volatile
as $$
declare
  v_active tide.runs;
  v_made tide.runs;
  v_answer tide.enqueued;
  v_inserted uuid[];
  v_free constant boolean := run.dedupe_key is null and run.given_id is not true;
begin
  if not v_free then
    if not tide._require_read_committed('enqueue with a dedupe key or a run_id') then
      return null;
    end if;
    if run.dedupe_key is not null
      and run.given_id
      and tide._repeats_run(run.run_id, run.workflow, run.input)
    then
      v_made := tide._find_run(run.run_id);
      return (v_made.run_id, false, v_made.status)::tide.enqueued;
    end if;
  end if;

  for v_round in 1..10 loop
    if run.dedupe_key is not null then
      v_active := (
        select r::tide.runs
        from tide.runs_active as r
        where r.queue = run.queue
          and r.dedupe_key = run.dedupe_key
          and r.dedupe_key is not null
          and r.status <> 'pending'
      );
      if v_active.run_id is not null then
        v_answer := tide._enqueue_again(run, v_active, channels);
        if v_answer.run_id is not null then
          return v_answer;
        end if;
      end if;
      -- Asked after that: whichever run of the key ended before the first look holds it by now.
      v_answer := tide._enqueue_held(run);
      if v_answer.run_id is not null then
        return v_answer;
      end if;
    end if;

    v_inserted := tide._insert_runs(array[run], v_free);
    if cardinality(v_inserted) = 1
      and (run.after_mode is not null or tide._make_ready(run.queue, run.priority, run.run_at))
    then
      if channels is not null then
        perform tide._add_channels(run.run_id, channels);
        if run.after_mode is null then
          perform tide._tell(array[run.run_id], array[1], 'run.enqueued');
        end if;
      end if;
      -- Those of a batch are added by it.
      if run.after is not null then
        perform tide._add_predecessors(
          array(
            select (
              run.run_id, a.run_id, run.after_failure, run.run_at, null, true
            )::tide.predecessors
            from (
              select distinct u.run_id
              from unnest(run.after) as u(run_id)
            ) as a
          )
        );
      end if;
      return (run.run_id, false, 'queued')::tide.enqueued;
    end if;
    if run.given_id
      and tide._repeats_run(run.run_id, run.workflow, run.input)
    then
      v_made := tide._find_run(run.run_id);
      return (v_made.run_id, false, v_made.status)::tide.enqueued;
    end if;
  end loop;
  raise exception 'dedupe key % of queue % is taken and freed faster than a run can be made',
      quote_literal(run.dedupe_key), run.queue
    using errcode = '40001',
          hint = 'Call again.';
end;
$$;

comment on function tide._enqueue is
  'Insert a queued run whose values are checked, or settle the conflict over its dedupe key.';
