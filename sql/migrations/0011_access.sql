-- Which roles may use which queues, keys of the HTTP door, names of the group roles. New tables only.
create table tide.queue_grants (
  queue text not null,
  role text not null,
  verbs text[] not null,
  granted_at timestamptz not null default clock_timestamp(),
  granted_by text not null default session_user,
  primary key (queue, role),
  constraint queue_grants_verbs_known check (
    verbs <@ array['enqueue', 'claim'] and cardinality(verbs) > 0
  )
);
comment on table tide.queue_grants is
  'A queue with rows here is restricted: only logins that are members of one of the roles may use it, '
  'and only for the verbs. A queue without rows is open to everybody who may call the functions.';

create table tide.api_keys (
  name text primary key,
  role text not null,
  token_hash bytea not null,
  created_at timestamptz not null,
  created_by text not null default session_user,
  last_used_at timestamptz,
  revoked_at timestamptz,
  shared boolean not null default false,
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
comment on column tide.api_keys.shared is
  'Several workers use the key, so it does not say which of them holds a run. Else it is one worker''s.';

create table tide.role_names (
  only_row boolean primary key default true,
  prefix text not null default 'tide_',
  constraint role_names_has_one_row check (only_row),
  constraint role_names_prefix_is_plain check (
    prefix ~ '^[a-z_][a-z0-9_]{0,39}$' and prefix !~ '^pg_'
  )
);
comment on table tide.role_names is 'How the group roles are called; exactly one row.';
comment on column tide.role_names.prefix is
  'What their names begin with, chosen when the schema is installed.';
insert into tide.role_names default values;
