-- Only elements before may be named, so nothing can come after itself.
create or replace function tide._add_batch_predecessors(
  runs tide.new_run[],
  elements jsonb,
  answers tide.enqueued[]
)
returns void
language plpgsql
volatile
as $$
declare
  v_final constant uuid[] := array(
    select coalesce(
      _add_batch_predecessors.answers[s.place].run_id,
      (_add_batch_predecessors.runs[s.place]).run_id
    )
    from generate_subscripts(_add_batch_predecessors.runs, 1) as s(place)
    order by s.place
  );
  v_edges tide.predecessors[];
  v_places integer[];
  v_wrong record;
begin
  select
    array_agg(
      (
        v_final[g.place],
        g.after_id,
        (_add_batch_predecessors.runs[g.place]).after_failure,
        (_add_batch_predecessors.runs[g.place]).run_at,
        null,
        true
      )::tide.predecessors
      order by g.place, g.after_id
    ),
    array_agg(g.place::integer order by g.place, g.after_id)
  into
    v_edges,
    v_places
  from (
    select distinct
      e.place,
      case
        when jsonb_typeof(a.named) = 'number' then v_final[
          1 + tide._option_integer(
            format('runs[%s].after[%s]', e.place - 1, a.at - 1),
            a.named,
            0,
            cardinality(v_final) - 1
          )
        ]
        else tide._option_uuid(format('runs[%s].after[%s]', e.place - 1, a.at - 1), a.named)
      end as after_id
    from jsonb_array_elements(_add_batch_predecessors.elements) with ordinality as e(element, place)
    cross join lateral jsonb_array_elements(
      case
        when jsonb_typeof(e.element -> 'after') = 'array' then e.element -> 'after'
        else '[]'
      end
    ) with ordinality as a(named, at)
    -- What was there before, or comes again, waits for what it was made with.
    where coalesce(_add_batch_predecessors.answers[e.place].deduplicated, false) is false
      and (
        _add_batch_predecessors.answers[e.place].run_id is null
        or (
          select r.waiting_on = 'after'
          from tide.runs_active as r
          where r.run_id = _add_batch_predecessors.answers[e.place].run_id
        )
        and not exists (
          select
          from tide.predecessors as p
          where p.run_id = _add_batch_predecessors.answers[e.place].run_id
        )
      )
  ) as g;
  if v_edges is null then
    return;
  end if;
  select
    v_places[e.ordinal] - 1 as place,
    f.place - 1 as named
  into v_wrong
  from unnest(v_edges) with ordinality as e(
    run_id, after_id, after_failure, run_at, ended_as, noticed, ordinal
  )
  join (
    select
      u.run_id,
      min(u.place) as place
    from unnest(v_final) with ordinality as u(run_id, place)
    group by u.run_id
  ) as f on f.run_id = e.after_id
  where f.place >= v_places[e.ordinal]
  order by e.ordinal
  limit 1;
  if found then
    raise exception 'runs[%].after names runs[%]%', v_wrong.place, v_wrong.named,
        case when v_wrong.place = v_wrong.named then ', itself' else ', which stands after it' end
      using errcode = '22023',
            hint = 'Put each run behind those it comes after: then none can wait for itself.';
  end if;
  perform tide._add_predecessors(v_edges, v_places);
end;
$$;

comment on function tide._add_batch_predecessors is
  'Let the runs an enqueue_many made come after those their elements name, by id or by place among the '
  'elements before; any other place: 22023.';
