create or replace function tide._webhook_headers(
  delivery_id uuid,
  secret_name text,
  body text
)
returns jsonb
language plpgsql
stable
as $$
declare
  v_now constant timestamptz := tide._now();
  v_sent_at constant bigint := extract(epoch from v_now);
  v_secrets constant text[] := array(
    select s.secret
    from tide.webhook_secrets as s
    where s.name = _webhook_headers.secret_name
      and (s.expires_at is null or s.expires_at > v_now)
    order by s.created_at desc
  );
  v_headers constant jsonb := jsonb_build_object(
    'webhook-id', _webhook_headers.delivery_id,
    'webhook-timestamp', v_sent_at::text
  );
begin
  if cardinality(v_secrets) = 0 then
    return v_headers;
  end if;
  return v_headers || jsonb_build_object(
    'x-tidebase-signature', tide._tidebase_signature(v_secrets[1], _webhook_headers.body),
    'webhook-signature', (
      select string_agg(
        tide._standard_signature(
          u.secret, _webhook_headers.delivery_id::text, v_sent_at, _webhook_headers.body
        ),
        ' '
        order by u.ordinality
      )
      from unnest(v_secrets) with ordinality as u(secret, ordinality)
    )
  );
end;
$$;

comment on function tide._webhook_headers is
  'Headers of one attempt of a delivery: id and time, and the signatures where the secret is stored '
  'here; with two live secrets, webhook-signature has both.';
