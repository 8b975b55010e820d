-- Secrets of workers' leases. A short lock: a column without a rewrite.
alter table tide.workers
add column lease_secret uuid;
comment on column tide.workers.lease_secret is
  'Random, new with each seen_at: lease ids are hashes of it. null = not seen since the upgrade.';
