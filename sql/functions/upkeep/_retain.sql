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
  v_queue text;
  v_settings tide.queues;
  v_removed integer := 0;
begin
  if v_default is null then
    for v_settings in
      select q.*
      from tide.queues as q
      where q.retention is not null
      order by q.queue
    loop
      v_removed := v_removed + tide._prune(
        v_settings.queue,
        v_now - v_settings.retention,
        _retain.max_runs - v_removed,
        v_settings.retention_keeps
      );
    end loop;
    return v_removed;
  end if;
  v_removed := tide._prune(null, v_now - v_default, _retain.max_runs, '{}');
  foreach v_queue in array tide._finished_queues() loop
    exit when v_removed >= _retain.max_runs;
    select q.*
    into v_settings
    from tide.queues as q
    where q.queue = v_queue;
    v_removed := v_removed + tide._prune(
      v_queue,
      v_now - coalesce(v_settings.retention, v_default),
      _retain.max_runs - v_removed,
      coalesce(v_settings.retention_keeps, '{}')
    );
  end loop;
  return v_removed;
end;
$$;

comment on function tide._retain is
  'Remove finished runs older than their queue, or the installation, keeps them; oldest first.';
