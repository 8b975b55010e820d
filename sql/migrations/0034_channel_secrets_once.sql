-- tide: no transaction
-- A secret that came with a channel is kept once. Built without keeping anybody from writing.
create unique index concurrently if not exists webhook_secrets_of_channels_uidx
on tide.webhook_secrets (name)
where name like 'http-________________________________________________________________';
