-- tide: with the functions
-- What tokens of gates are derived from, and functions with new arguments, made again in this
-- transaction. A short lock: a column of the one row of settings.
alter table tide.settings
add column gate_secret bytea not null
default sha256(convert_to(gen_random_uuid()::text || gen_random_uuid()::text, 'UTF8'));
comment on column tide.settings.gate_secret is
  'What tokens of gates are derived from, random; nobody is granted this table.';
drop function if exists tide.begin_run;
drop function if exists tide.cancel;
drop function if exists tide.patch_state;
drop function if exists tide._enqueue_again;
