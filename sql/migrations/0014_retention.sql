-- Retention of the installation. A short lock: a column without a rewrite, a check not validated yet.
alter table tide.settings
add column retention interval,
add constraint settings_retention_positive check (
  retention >= interval '0'
) not valid;
comment on column tide.settings.retention is
  'How long finished runs are kept that have no queue, or whose queue says nothing; null = for ever.';
