create or replace function tide._explain_parking(run tide.runs)
returns jsonb
language plpgsql
stable
as $$
declare
  v_reasons jsonb;
begin
  case run.waiting_on
    when 'gate' then
      return tide._reason(
        'gate',
        'parked until somebody decides',
        (
          select jsonb_build_object(
            'gate_id', g.gate_id, 'name', g.name, 'prompt', g.prompt, 'expires_at', g.expires_at
          )
          from tide.gates as g
          where g.run_id = run.run_id
            and g.gate_id::text = run.waiting_for
        )
      );
    when 'children' then
      return tide._reason(
        'children',
        'parked until its children end',
        (
          select jsonb_build_object(
            'mode', run.waiting_for,
            'open', count(*),
            'children', coalesce(
              to_jsonb((array_agg(e.child_id order by e.created_at, e.edge))[:20]), '[]'
            )
          )
          from tide.run_edges as e
          where e.parent_id = run.run_id
            and e.awaited
            and e.child_status is null
        )
      );
    when 'after' then
      return tide._reason(
        'after',
        case run.waiting_for
          when 'any' then 'parked until one of the runs it comes after has completed'
          else 'parked until the runs it comes after have ended'
        end,
        (
          select jsonb_build_object(
            'mode', run.waiting_for,
            'after_failure', min(p.after_failure),
            'open', count(*) filter (where p.ended_as is null),
            'runs', coalesce(
              to_jsonb((
                array_agg(p.after_id order by p.after_id) filter (where p.ended_as is null)
              )[:20]),
              '[]'
            ),
            'not_before', min(p.run_at)
          )
          from tide.predecessors as p
          where p.run_id = run.run_id
        )
      );
    when 'lane', 'provider' then
      v_reasons := tide._explain_lanes(run);
      return case
        when v_reasons = '[]'
          then tide._reason(
            'lane',
            'its lane has room for it again: it goes on at the next tick',
            (
              select jsonb_build_object(
                'lane', w.lane, 'lane_key', coalesce(w.run_key, nullif(w.lane_key, ''))
              )
              from tide.lane_waits as w
              where w.run_id = run.run_id
            )
          )
        else v_reasons
      end;
    when 'push' then
      return tide._reason(
        'push',
        'pushed to its application, which has not begun it yet',
        (
          select jsonb_build_object(
            'delivery_id', d.delivery_id,
            'endpoint', d.endpoint,
            'status', d.status,
            'http_status', d.http_status,
            'error', d.error,
            'until', run.dispatched_until
          )
          from tide.deliveries as d
          where d.run_id = run.run_id
            and d.delivery_id::text = run.waiting_for
        )
      );
    when 'budget' then
      return tide._reason(
        'budget',
        'parked until enough is left for its next step',
        tide._explain_budget(run)
      );
    else
      return tide._reason(
        run.waiting_on,
        case run.waiting_on
          when 'timer' then 'parked until a time'
          else 'parked until an event is sent'
        end,
        (
          select jsonb_build_object('name', w.name, 'due_at', w.due_at)
          from tide.waits as w
          where w.run_id = run.run_id
            and w.kind = run.waiting_on
            and w.name = run.waiting_for
        )
      );
  end case;
end;
$$;

comment on function tide._explain_parking is 'What a parked run waits for, for explain_wait.';
