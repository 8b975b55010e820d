-- Which roles may use which queues. New table only.
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
