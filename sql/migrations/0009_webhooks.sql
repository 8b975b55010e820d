-- What goes out: channels, deliveries, endpoints and secrets. New tables only.
create table tide.channels (
  run_id uuid not null,
  channel integer not null,
  gate_id uuid,
  url text not null,
  secret_name text not null,
  events text[] not null,
  primary key (run_id, channel)
);
-- Which channels still need a secret that came with one of them.
create index channels_own_secret_idx on tide.channels (secret_name)
where secret_name like 'http-%';
comment on table tide.channels is 'Where events of a run are sent.';
comment on column tide.channels.gate_id is 'Only events of this gate; null = of the whole run.';
comment on column tide.channels.events is 'Types of events; empty = all.';

create table tide.deliveries (
  run_id uuid not null,
  delivery_id uuid not null,
  type text not null,
  gate_id uuid,
  url text not null,
  endpoint text not null,
  secret_name text not null,
  body text not null,
  token text,
  status text not null default 'pending',
  attempts integer not null default 0,
  max_attempts integer not null,
  due_at timestamptz not null,
  expires_at timestamptz not null,
  lease_id uuid,
  ended_lease_id uuid,
  http_status integer,
  response text,
  error text,
  logged boolean not null default false,
  created_at timestamptz not null,
  finished_at timestamptz,
  trace jsonb,
  primary key (run_id, delivery_id),
  constraint deliveries_status_known check (
    status in ('pending', 'delivered', 'dead', 'dropped')
  ),
  constraint deliveries_finished_iff_not_pending check (
    (finished_at is null) = (status = 'pending')
  )
) with (
  fillfactor = 70,
  autovacuum_vacuum_scale_factor = 0,
  autovacuum_vacuum_threshold = 1000,
  vacuum_truncate = off
);
create unique index deliveries_delivery_id_uidx on tide.deliveries (delivery_id);
create index deliveries_due_idx on tide.deliveries (endpoint, due_at)
where status = 'pending';
create index deliveries_sending_idx on tide.deliveries (endpoint)
where status = 'pending' and lease_id is not null;
create index deliveries_expiring_idx on tide.deliveries (expires_at)
where status = 'pending';
create index deliveries_unlogged_idx on tide.deliveries (finished_at)
where status = 'dead' and not logged;
create index deliveries_dead_idx on tide.deliveries (delivery_id)
where status = 'dead';
create index deliveries_settled_idx on tide.deliveries (finished_at)
where status in ('delivered', 'dropped');
comment on table tide.deliveries is
  'The outbox: webhooks written in the transaction of the change they tell of, sent by a dispatcher.';
comment on column tide.deliveries.endpoint is 'Scheme, host and port of the url.';
comment on column tide.deliveries.body is 'The JSON text to send, byte for byte the same each time.';
comment on column tide.deliveries.token is
  'The token of the gate this delivery tells of, appended to the body; forgotten once delivered or '
  'decided.';
comment on column tide.deliveries.status is
  'pending, delivered, dead = given up, dropped = nobody needs it any more.';
comment on column tide.deliveries.due_at is
  'Not before this time; while lease_id is set, a dispatcher is sending it until then.';
comment on column tide.deliveries.ended_lease_id is
  'The lease of the last attempt reported, so that the same report again gets the same answer.';
comment on column tide.deliveries.logged is 'Whether event delivery.failed was written.';
comment on column tide.deliveries.trace is
  'traceparent and tracestate of the attempt whose outcome made it; null = those of who made the run.';

create table tide.endpoints (
  endpoint text primary key,
  failures integer not null default 0,
  proven boolean not null default false,
  open_until timestamptz,
  claimed_at timestamptz not null default '-infinity',
  answered_at timestamptz
) with (fillfactor = 50);
comment on table tide.endpoints is 'How each host that webhooks go to has answered.';
comment on column tide.endpoints.failures is 'Failed attempts since the last success.';
comment on column tide.endpoints.proven is 'Whether the last answer was a success.';
comment on column tide.endpoints.open_until is
  'Circuit breaker: nothing is sent before this time, then one attempt decides.';

create table tide.webhook_secrets (
  name text not null,
  secret text not null,
  created_at timestamptz not null,
  expires_at timestamptz,
  primary key (name, created_at)
);
-- A secret that came with a channel is kept once.
create unique index webhook_secrets_of_channels_uidx on tide.webhook_secrets (name)
where name like 'http-________________________________________________________________';
comment on table tide.webhook_secrets is
  'Secrets that sign webhooks; nobody is granted this table. Up to two of a name are live.';

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
