-- Retention of the installation, and what tokens of gates are derived from. A short lock: columns of
-- the one row of settings, a check not validated yet.
alter table tide.settings
add column retention interval,
add column gate_secret bytea not null
default sha256(convert_to(gen_random_uuid()::text || gen_random_uuid()::text, 'UTF8')),
add constraint settings_retention_positive check (
  retention >= interval '0'
) not valid;
comment on column tide.settings.retention is
  'How long finished runs are kept that have no queue, or whose queue says nothing; null = for ever.';
comment on column tide.settings.gate_secret is
  'What tokens of gates are derived from, random; nobody is granted this table.';
