-- What a run comes after never changes once it is made, and each run may wait for its children. So the only
-- cycles are those that lead to the parent or one of its ancestors, and a look at these is enough; it is
-- needed only where somebody comes after one of them.
create or replace function tide._let_children_follow(
  parent tide.runs,
  children jsonb,
  places integer[],
  made uuid[]
)
returns void
language plpgsql
volatile
as $$
declare
  v_family uuid[];
  v_followed boolean;
  v_names text[];
  v_edges tide.predecessors[];
  v_places integer[];
  v_wrong record;
begin
  if not jsonb_path_exists(_let_children_follow.children, '$[*].after[*]') then
    return;
  end if;
  v_names := array(
    select c.element ->> 'edge'
    from jsonb_array_elements(_let_children_follow.children) with ordinality as c(element, place)
    order by c.place
  );
  select
    array_agg(
      (g.run_id, g.after_id, g.after_failure, g.run_at, null, true)::tide.predecessors
      order by g.place, g.after_id
    ),
    array_agg(g.place order by g.place, g.after_id)
  into
    v_edges,
    v_places
  from (
    select distinct
      m.place,
      r.run_id,
      tide._find_named(
        parent.run_id,
        format('%s.after[%s]', tide._batch_argument(v_names[m.place], m.place), a.at - 1),
        a.named
      ) as after_id,
      coalesce(c.element ->> 'after_failure', 'cancel') as after_failure,
      tide._valid_start(
        r.created_at,
        tide._option_interval('delay', c.element -> 'delay'),
        tide._option_time('run_at', c.element -> 'run_at')
      ) as run_at
    from unnest(_let_children_follow.places, _let_children_follow.made) as m(place, child_id)
    cross join lateral (
      select _let_children_follow.children -> (m.place - 1) as element
    ) as c
    cross join lateral (
      select
        i.run_id,
        i.created_at
      from tide.runs_active as i
      where i.run_id = m.child_id
    ) as r
    cross join lateral jsonb_array_elements(
      case
        when jsonb_typeof(c.element -> 'after') = 'array' then c.element -> 'after'
        else '[]'
      end
    ) with ordinality as a(named, at)
  ) as g;
  if v_edges is null then
    return;
  end if;

  select
    v_names[v_places[e.ordinal]] as edge,
    v_names[m.place] as named
  into v_wrong
  from unnest(v_edges) with ordinality as e(
    run_id, after_id, after_failure, run_at, ended_as, noticed, ordinal
  )
  join unnest(_let_children_follow.places, _let_children_follow.made) as m(place, child_id)
    on m.child_id = e.after_id
  where m.place >= v_places[e.ordinal]
  order by e.ordinal
  limit 1;
  if found then
    raise exception '%.after names %', tide._batch_argument(v_wrong.edge, 1),
        case
          when v_wrong.named = v_wrong.edge then 'the child itself'
          else tide._batch_argument(v_wrong.named, 1) || ', which stands after it'
        end
      using errcode = '22023',
            hint = 'Put each child behind those it comes after: then none can wait for itself.';
  end if;

  v_family := parent.run_id || array(
    select a.run_id
    from tide._ancestors(_let_children_follow.parent) as a
  );
  v_followed := exists (
    select
    from tide.runs_active as r
    where r.run_id = any (v_family)
      and r.followed
  );
  select
    n.edge,
    w.named,
    w.run_id
  into v_wrong
  from (
    with recursive waits as (
      select
        e.after_id as named,
        e.after_id as run_id
      from unnest(v_edges) as e
      union
      select
        b.named,
        n.run_id
      from waits as b
      cross join lateral (
        select p.after_id as run_id
        from tide.predecessors as p
        where p.run_id = b.run_id
          and p.ended_as is null
        union all
        select c.child_id
        from tide.run_edges as c
        where c.parent_id = b.run_id
          and c.child_status is null
          and not c.detached
      ) as n
      where v_followed
    )
    select
      b.named,
      b.run_id
    from waits as b
    where b.run_id = any (v_family)
    order by b.named, b.run_id
    limit 1
  ) as w
  cross join lateral (
    select v_names[min(v_places[e.ordinal])] as edge
    from unnest(v_edges) with ordinality as e(
      run_id, after_id, after_failure, run_at, ended_as, noticed, ordinal
    )
    where e.after_id = w.named
  ) as n;
  if found then
    raise exception '%.after names run %, %', tide._batch_argument(v_wrong.edge, 1), v_wrong.named,
        case
          when v_wrong.named <> v_wrong.run_id
            then format('which may wait for run %s', v_wrong.run_id)
          when v_wrong.named = parent.run_id then 'its parent'
          else 'its ancestor'
        end
      using errcode = '22023',
            hint = 'A parent may wait for its children, so none would ever go on: enqueue what '
                   'comes after a run as a run of its own.';
  end if;
  perform tide._add_predecessors(v_edges, v_places, v_names);
end;
$$;

comment on function tide._let_children_follow is
  'Let the children of a locked run that were just made come after those their elements name, by id or '
  'edge; places = where in the array each stands. One that stands later, the parent, an ancestor, and '
  'what may wait for these: 22023.';
