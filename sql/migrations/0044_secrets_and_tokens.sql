-- Whose secrets sign what, and where gates are told of. Short locks: columns without a rewrite, a new
-- table.
alter table tide.queues
add column gate_channels jsonb,
add column operator_urls boolean not null default false;
comment on column tide.queues.gate_channels is
  'Channels of every gate of this queue, told with its token; set by operators.';
comment on column tide.queues.operator_urls is
  'Only operators say where runs of this queue send events and who is asked to resume them.';

create table tide.secret_grants (
  name text primary key,
  queues text[] not null,
  roles text[] not null,
  granted_at timestamptz not null default clock_timestamp(),
  granted_by text not null default session_user
);
comment on table tide.secret_grants is
  'Whose a secret of webhooks is: of runs of these queues, and of members of these roles. A secret '
  'without a row is for operators, but the secret default for everybody.';
