-- Keys of the HTTP door. New table only.
create table tide.api_keys (
  name text primary key,
  role text not null,
  token_hash bytea not null,
  created_at timestamptz not null,
  created_by text not null default session_user,
  last_used_at timestamptz,
  revoked_at timestamptz,
  constraint api_keys_role_known check (
    role in ('client', 'worker', 'operator', 'viewer', 'approver')
  )
);
create unique index api_keys_token_hash_uidx on tide.api_keys (token_hash);
comment on table tide.api_keys is
  'Keys of the HTTP door, each for one group role. A revoked key keeps its row, since its name stands '
  'in the event log.';
comment on column tide.api_keys.role is 'The group role without tide_, whose login serves the key.';
comment on column tide.api_keys.token_hash is
  'sha256 of the token; the token itself is shown once and never stored.';
comment on column tide.api_keys.last_used_at is 'Written at most every minute.';
