-- Of many queue names a thousand a batch: where it ends the next one goes on.
create or replace function tide._retain(max_runs integer)
returns integer
language plpgsql
volatile
as $$
declare
  v_now constant timestamptz := tide._now();
  v_default constant interval := (
    select s.retention
    from tide.settings as s
  );
  v_queue text := (
    select t.retained_queue
    from tide.ticks as t
  );
  v_settings tide.queues;
  v_looked integer := 0;
  v_removed integer := 0;
begin
  if v_default is not null then
    delete from tide.setting_changes as c
    where c.change_id in (
        select o.change_id
        from tide.setting_changes as o
        order by o.change_id
        limit 1000
      )
      and c.changed_at < v_now - v_default;
    v_removed := tide._prune(null, v_now - v_default, _retain.max_runs, '{}');
  end if;
  while v_removed < _retain.max_runs and v_looked < 1000 loop
    v_settings := null;
    if v_default is null then
      v_settings := (
        select q
        from tide.queues as q
        where q.retention is not null
          and q.queue > v_queue
        order by q.queue
        limit 1
      );
      v_queue := v_settings.queue;
    else
      select f.queue
      into v_queue
      from tide.runs_finished as f
      where f.queue > v_queue
      order by f.queue
      limit 1;
      v_settings := (
        select q
        from tide.queues as q
        where q.queue = v_queue
      );
    end if;
    if v_queue is null then
      v_queue := '';
      exit;
    end if;
    v_looked := v_looked + 1;
    v_removed := v_removed + tide._prune(
      v_queue,
      v_now - coalesce(v_settings.retention, v_default),
      _retain.max_runs - v_removed,
      coalesce(v_settings.retention_keeps, '{}')
    );
  end loop;
  if v_removed >= _retain.max_runs and v_looked > 0 then
    -- There may be more of this queue.
    v_queue := coalesce(
      (
        select max(f.queue)
        from tide.runs_finished as f
        where f.queue < v_queue
      ),
      ''
    );
  end if;
  update tide.ticks as t
  set retained_queue = v_queue
  where t.retained_queue <> v_queue
    and t.only_row in (
      select o.only_row
      from tide.ticks as o
      for no key update skip locked
    );
  return v_removed;
end;
$$;

comment on function tide._retain is
  'Remove finished runs older than their queue, or the installation, keeps them; oldest first.';
