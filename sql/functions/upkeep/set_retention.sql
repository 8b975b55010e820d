create or replace function tide.set_retention(retention interval)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  update tide.settings as s
  set
    retention = case
      when set_retention.retention is not null
        then tide._valid_interval('retention', set_retention.retention, '0', '36500 days')
    end;
end;
$$;

comment on function tide.set_retention is
  'How long finished runs are kept that have no queue, or whose queue has no retention of its own; '
  'null = for ever.';
