create or replace function tide.set_webhook_secret(
  name text,
  secret text,
  keep interval default '1 day'
)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now constant timestamptz := tide._now();
  v_name constant text := tide._valid_name('name', set_webhook_secret.name);
  v_keep constant interval := tide._valid_interval(
    'keep', set_webhook_secret.keep, '0', '365 days'
  );
  v_current tide.webhook_secrets;
begin
  perform tide._require_read_committed('set_webhook_secret');
  -- Two calls for one name take turns.
  perform tide._wait_for_turn('secret ' || v_name);
  if set_webhook_secret.secret is null then
    delete from tide.webhook_secrets as s
    where s.name = v_name;
    return;
  end if;
  v_current := (
    select s
    from tide.webhook_secrets as s
    where s.name = v_name
    order by s.created_at desc
    limit 1
  );
  if v_current.secret = tide._valid_secret(set_webhook_secret.secret) then
    return;
  end if;
  delete from tide.webhook_secrets as s
  where s.name = v_name
    and s.created_at < v_current.created_at;
  update tide.webhook_secrets as s
  set expires_at = v_now + v_keep
  where s.name = v_name;
  insert into tide.webhook_secrets (name, secret, created_at)
  values (
    v_name,
    set_webhook_secret.secret,
    greatest(v_now, v_current.created_at + interval '1 microsecond')
  );
end;
$$;

comment on function tide.set_webhook_secret is
  'Set the secret that signs webhooks under a name; null removes it. The secret before it signs '
  'beside it for the time of keep, so that receivers can change over.';
