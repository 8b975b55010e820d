-- Push, retention and channels of queues. A short lock: columns without a rewrite, a check not
-- validated yet.
alter table tide.queues
add column push_url text,
add column push_secret text,
add column retention_keeps text[] not null default '{}',
add column gate_channels jsonb,
add column operator_urls boolean not null default false,
add constraint queues_retention_keeps_known check (
  retention_keeps <@ array['gates', 'usage']
) not valid;
comment on column tide.queues.push_url is
  'Where runs of this queue are pushed to; workers do not claim them. null = workers claim.';
comment on column tide.queues.push_secret is
  'Name of the secret that signs what is pushed; null = default.';
comment on column tide.queues.retention_keeps is
  'What stays when retention removes a run: gates, usage.';
comment on column tide.queues.gate_channels is
  'Channels of every gate of this queue, told with its token; set by operators.';
comment on column tide.queues.operator_urls is
  'Only operators say where runs of this queue send events and who is asked to resume them.';
