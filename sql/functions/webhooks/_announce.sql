-- delivery.failed goes to no channel: it would tell a dead endpoint about itself, for ever.
-- offset 0: a join with the log cannot go into its arms, which would be read from one end to the
-- other for every run; without statistics neither can one with the channels of all runs.
create or replace function tide._announce(
  run_ids uuid[],
  seqs integer[],
  type text
)
returns void
language plpgsql
volatile
as $$
declare
  v_now constant timestamptz := tide._now();
begin
  insert into tide.deliveries (
    run_id, delivery_id, type, gate_id, url, endpoint, secret_name, body, max_attempts, due_at,
    expires_at, created_at
  )
  select
    n.run_id,
    n.delivery_id,
    _announce.type,
    n.gate_id,
    n.url,
    tide._endpoint(n.url),
    n.secret_name,
    tide._event_body(
      _announce.type,
      n.run_id,
      n.gate_id,
      n.delivery_id,
      n.payload,
      n.seq,
      n.attempt,
      n.created_at
    ),
    20,
    v_now,
    v_now + interval '72 hours',
    v_now
  from (
    select
      c.run_id,
      tide._uuid7() as delivery_id,
      (e.payload ->> 'gate_id')::uuid as gate_id,
      c.url,
      c.secret_name,
      e.seq,
      r.attempt,
      e.created_at,
      e.payload
    from unnest(_announce.run_ids, _announce.seqs) as n(run_id, seq)
    cross join lateral (
      select o.*
      from tide.channels as o
      where o.run_id = n.run_id
      offset 0
    ) as c
    cross join lateral (
      select l.*
      from tide.event_log as l
      where l.run_id = n.run_id
        and l.seq = n.seq
      offset 0
    ) as e
    join tide.runs as r on r.run_id = n.run_id
    where _announce.type <> 'delivery.failed'
      and (c.gate_id is null or c.gate_id = (e.payload ->> 'gate_id')::uuid)
      and (cardinality(c.events) = 0 or _announce.type = any (c.events))
    order by
      c.run_id,
      c.channel
  ) as n;
end;
$$;

comment on function tide._announce is
  'Write deliveries of events to the channels of their runs that want them.';
