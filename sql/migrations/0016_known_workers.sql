-- What a claim knows by its worker. A short lock: columns without a rewrite.
alter table tide.workers
add column lease_secret uuid,
add column plain boolean not null default false;
comment on column tide.workers.lease_secret is
  'Random, new with each seen_at: lease ids are hashes of it. null = not seen since the upgrade.';
comment on column tide.workers.plain is
  'It has one queue, which at seen_at was not paused, pushed, restricted or under any limit; taken back '
  'by whoever changes that.';
