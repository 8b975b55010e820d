create or replace function tide.list_setting_changes(
  kind text default null,
  name text default null,
  before_change bigint default null,
  max_changes integer default 100
)
returns setof tide.setting_changes
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan
as $$
declare
  v_max constant integer := tide._valid_integer(
    'max_changes', list_setting_changes.max_changes, 1, 1000
  );
  v_closed constant text[] := tide._closed_queues();
begin
  if list_setting_changes.kind is not null then
    perform tide._valid_choice(
      'kind', list_setting_changes.kind, '{queue,lane,schedule,installation,price}'
    );
  end if;
  return query
    select c.*
    from tide.setting_changes as c
    where (c.queue is null or c.queue <> all (v_closed))
      and (list_setting_changes.kind is null or c.kind = list_setting_changes.kind)
      and (list_setting_changes.name is null or c.name = list_setting_changes.name)
      and (
        list_setting_changes.before_change is null
        or c.change_id < list_setting_changes.before_change
      )
    order by c.change_id desc
    limit v_max;
end;
$$;

comment on function tide.list_setting_changes is
  'What was changed about queues, lanes, schedules, the installation and prices, by whom, from '
  'what to what, newest first; before_change = the last change_id of the page before.';
