-- tide: no transaction
-- Which channels still need a secret that came with one of them. Built without keeping anybody from
-- writing.
create index concurrently if not exists channels_own_secret_idx on tide.channels (secret_name)
where secret_name like 'http-%';
