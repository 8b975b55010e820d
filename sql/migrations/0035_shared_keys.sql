-- Whether several workers use one key of the HTTP door. Short lock: adds a column with a constant.
alter table tide.api_keys add column shared boolean not null default false;
comment on column tide.api_keys.shared is
  'Several workers use the key, so it does not say which of them holds a run. Else it is one worker''s.';
