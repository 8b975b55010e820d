-- Named by what it is, so that nobody sets the secret of others by it, and the same again is one row.
create or replace function tide.store_channel_secret(secret text)
returns text
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_secret constant text := tide._valid_secret(store_channel_secret.secret);
  v_name constant text := 'http-' || encode(sha256(convert_to(v_secret, 'UTF8')), 'hex');
begin
  perform tide._require_read_committed('store_channel_secret');
  insert into tide.webhook_secrets (name, secret, created_at)
  values (v_name, v_secret, tide._now())
  on conflict do nothing;
  if not found then
    update tide.webhook_secrets as s
    set created_at = tide._now()
    where s.name = v_name;
  end if;
  return v_name;
end;
$$;

comment on function tide.store_channel_secret is
  'Keep a secret that came with a channel and return the secret_name to give for it. It goes with the '
  'last run whose channels name it.';
