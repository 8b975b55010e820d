create or replace function tide.set_retention(retention interval, actor text default null)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_actor constant text := tide._valid_note('actor', set_retention.actor);
  v_new constant interval := case
    when set_retention.retention is not null
      then tide._valid_interval('retention', set_retention.retention, '0', '36500 days')
  end;
  v_old interval;
begin
  select s.retention
  into v_old
  from tide.settings as s
  for no key update;
  update tide.settings as s
  set retention = v_new;
  perform tide._note_change(
    'installation',
    null,
    null,
    v_actor,
    jsonb_strip_nulls(jsonb_build_object('retention', v_old)),
    jsonb_strip_nulls(jsonb_build_object('retention', v_new))
  );
end;
$$;

comment on function tide.set_retention is
  'How long finished runs are kept that have no queue, or whose queue has no retention of its own; '
  'null = without end.';
