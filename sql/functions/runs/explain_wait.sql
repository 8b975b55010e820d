create or replace function tide.explain_wait(run_id uuid)
returns jsonb
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
declare
  v_now constant timestamptz := tide._now();
  v_run tide.runs;
  v_queue tide.queues;
  v_reasons jsonb := '[]'::jsonb;
  v_paused constant boolean := tide._paused_at() is not null;
  v_until timestamptz;
  v_ahead bigint;
begin
  perform tide._require_run(explain_wait.run_id);
  v_run := tide._find_run(explain_wait.run_id);
  select tide._leased_until(r.run_id, r.lease_id, r.lease, r.leased_until)
  into v_until
  from tide.runs_active as r
  where r.run_id = v_run.run_id;
  v_queue := (
    select q
    from tide.queues as q
    where q.queue = v_run.queue
  );

  if v_run.status = 'pending' and v_run.waiting_on is null then
    v_reasons := v_reasons || tide._reason(
      'begin_run', 'a plain run starts when begin_run is called'
    );
  elsif v_run.waiting_on = 'review' then
    v_reasons := v_reasons || tide._reason(
      'review',
      'parked until an operator resolves a step',
      jsonb_build_object(
        'steps', (
          select coalesce(jsonb_agg(s.name order by s.name), '[]')
          from tide.steps as s
          where s.run_id = v_run.run_id
            and s.status = 'manual_review'
        )
      )
    );
  elsif v_run.waiting_on is not null then
    v_reasons := v_reasons || tide._explain_parking(v_run);
  elsif v_run.status = 'running' and v_until < v_now then
    v_reasons := v_reasons || tide._reason(
      'lease_expired',
      case
        when v_run.queue is null then 'its worker went silent; begin_run may take it over'
        else 'its worker went silent; upkeep hands the run out again'
      end,
      jsonb_build_object('worker', v_run.worker, 'leased_until', v_until)
    );
  elsif v_run.status = 'queued' then
    if v_run.run_at > v_now then
      v_reasons := v_reasons || tide._reason(
        'not_due', 'its time has not come', jsonb_build_object('run_at', v_run.run_at)
      );
    end if;
    if v_queue.paused then
      v_reasons := v_reasons || tide._reason('paused', 'the queue is paused');
    end if;
    v_reasons := v_reasons || tide._explain_cap(v_queue) || tide._explain_rate(v_queue, v_now);
    if v_run.lane is not null then
      v_reasons := v_reasons || tide._explain_lanes(v_run);
    end if;
    if v_paused then
      v_reasons := v_reasons || tide._reason('installation_paused', 'the installation is paused');
    end if;
    if v_queue.push_url is not null then
      v_reasons := v_reasons || tide._explain_push(v_queue);
    elsif not exists (
      select
      from tide.workers as w
      where w.seen_at > v_now - interval '1 minute'
        and v_run.queue = any (w.queues)
        and (w.workflows is null or v_run.workflow = any (w.workflows))
    ) then
      v_reasons := v_reasons || tide._explain_no_worker(v_run, v_now);
    end if;
    -- Two ranges of the index, so that the run at the front reads nothing of those behind it.
    select
      least(
        10000,
        (
          select count(*)
          from (
            select
            from tide.runs_active as r
            where r.queue = v_run.queue
              and r.ready
              and (case when r.turn_at is null then r.priority else 0 end) > o.priority
            order by
              r.queue,
              (case when r.turn_at is null then r.priority else 0 end) desc
            limit 10000
          ) as a
        ) + (
          select count(*)
          from (
            select
            from tide.runs_active as r
            where r.queue = v_run.queue
              and r.ready
              and (case when r.turn_at is null then r.priority else 0 end) = o.priority
              and (coalesce(r.turn_at, r.run_at), r.run_id) < (o.turn_at, v_run.run_id)
            order by
              r.queue,
              (case when r.turn_at is null then r.priority else 0 end) desc,
              coalesce(r.turn_at, r.run_at),
              r.run_id
            limit 10000
          ) as a
        )
      )
    into v_ahead
    from (
      select
        case when v_run.turn_at is null then v_run.priority else 0 end as priority,
        coalesce(v_run.turn_at, v_run.run_at) as turn_at
    ) as o;
    if v_ahead > 0 then
      v_reasons := v_reasons || tide._reason(
        'behind',
        'other ready runs come first',
        jsonb_build_object('runs', v_ahead, 'at_least', v_ahead = 10000)
      );
    end if;
  end if;
  return jsonb_build_object(
    'run_id', v_run.run_id,
    'status', v_run.status,
    'queue', v_run.queue,
    'workflow', v_run.workflow,
    'reasons', v_reasons
  );
end;
$$;

comment on function tide.explain_wait is
  'Why a run is not running, as jsonb: reasons such as not_due, review, paused, cap, rate, lane, '
  'throttled, provider, turn, no_worker, other_version, behind; none when it runs, may be claimed now or '
  'has ended.';
