-- Push and retention of queues. A short lock: columns without a rewrite, a check not validated yet.
alter table tide.queues
add column push_url text,
add column push_secret text,
add column retention_keeps text[] not null default '{}',
add constraint queues_retention_keeps_known check (
  retention_keeps <@ array['gates', 'usage']
) not valid;
comment on column tide.queues.push_url is
  'Where runs of this queue are pushed to; workers do not claim them. null = workers claim.';
comment on column tide.queues.push_secret is
  'Name of the secret that signs what is pushed; null = default.';
comment on column tide.queues.retention_keeps is
  'What stays when retention removes a run: gates, usage.';
