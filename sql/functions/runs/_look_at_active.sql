create or replace function tide._look_at_active(
  oldest uuid,
  before uuid,
  waits_for_people text,
  running boolean,
  look integer
)
returns table (
  run_id uuid,
  status text,
  waiting_on text,
  queue text,
  workflow text,
  failure_class text,
  metadata jsonb,
  error jsonb,
  finished_at timestamptz
)
language plpgsql
stable
as $$
begin
  -- By the small index of running runs, unless there are too many to sort.
  if _look_at_active.running then
    return query
    select
      r.run_id,
      r.status,
      r.waiting_on,
      r.queue,
      r.workflow,
      r.failure_class,
      r.metadata,
      r.error,
      r.finished_at
    from (
      select a.*
      from tide.runs_active as a
      where a.status = 'running'
      order by
        a.queue,
        a.run_id
      limit _look_at_active.look
    ) as r
    where r.run_id >= _look_at_active.oldest
      and r.run_id < _look_at_active.before
      and (
        select count(*)
        from (
          select
          from tide.runs_active as c
          where c.status = 'running'
          order by
            c.queue,
            c.run_id
          limit _look_at_active.look
        ) as n
      ) < _look_at_active.look;
    if found then
      return;
    end if;
  end if;
  if _look_at_active.waits_for_people = 'review' then
    return query
    select
      r.run_id,
      r.status,
      r.waiting_on,
      r.queue,
      r.workflow,
      r.failure_class,
      r.metadata,
      r.error,
      r.finished_at
    from tide.runs_active as r
    where r.waiting_on = 'review'
      and r.run_id >= _look_at_active.oldest
      and r.run_id < _look_at_active.before
    order by r.run_id desc
    limit _look_at_active.look;
  elsif _look_at_active.waits_for_people = 'budget' then
    return query
    select
      r.run_id,
      r.status,
      r.waiting_on,
      r.queue,
      r.workflow,
      r.failure_class,
      r.metadata,
      r.error,
      r.finished_at
    from tide.runs_active as r
    where r.waiting_on = 'budget'
      and r.run_id >= _look_at_active.oldest
      and r.run_id < _look_at_active.before
    order by r.run_id desc
    limit _look_at_active.look;
  else
    return query
    select
      r.run_id,
      r.status,
      r.waiting_on,
      r.queue,
      r.workflow,
      r.failure_class,
      r.metadata,
      r.error,
      r.finished_at
    from tide.runs_active as r
    where r.run_id >= _look_at_active.oldest
      and r.run_id < _look_at_active.before
    order by r.run_id desc
    limit _look_at_active.look;
  end if;
end;
$$;

comment on function tide._look_at_active is
  'The newest active runs of a range of ids, at most so many: all, the running ones, or those that wait '
  'for people.';
