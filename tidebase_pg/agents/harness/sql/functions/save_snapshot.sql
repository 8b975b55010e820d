-- Who saves the same messages inserts them in the same order, the first one first, and so waits for
-- nobody who waits for him.
create or replace function tide_harness.save_snapshot(
  run_id text,
  state text,
  record json,
  hashes bytea[],
  messages text[],
  base_hash bytea default null,
  conversation_id text default null,
  idempotency_key text default null,
  max_snapshots integer default null
)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_run constant tide_harness.runs := tide_harness._run(
    save_snapshot.run_id, save_snapshot.conversation_id
  );
begin
  if save_snapshot.idempotency_key is not null then
    insert into tide_harness.snapshot_keys (run_no, idempotency_key)
    values (v_run.run_no, save_snapshot.idempotency_key)
    on conflict do nothing;
    if not found then
      return;
    end if;
  end if;
  if save_snapshot.base_hash is not null and not exists (
    select
    from tide_harness.messages as m
    where m.conversation_no = v_run.conversation_no
      and m.hash = save_snapshot.base_hash
  ) then
    raise exception 'messages before those sent of run % are not stored any more',
        quote_literal(save_snapshot.run_id)
      using errcode = 'TD010',
            hint = 'Send all messages.';
  end if;
  insert into tide_harness.messages (conversation_no, hash, parent_hash, message)
  select
    v_run.conversation_no,
    n.hash,
    coalesce(save_snapshot.hashes[n.place - 1], save_snapshot.base_hash),
    n.message::json
  from unnest(save_snapshot.hashes, save_snapshot.messages)
    with ordinality as n(hash, message, place)
  order by n.place
  on conflict do nothing;
  insert into tide_harness.snapshots (run_no, state, head_hash, record)
  values (
    v_run.run_no,
    save_snapshot.state,
    coalesce(
      save_snapshot.hashes[cardinality(save_snapshot.hashes)], save_snapshot.base_hash
    ),
    save_snapshot.record
  );
  if save_snapshot.max_snapshots is not null then
    delete from tide_harness.snapshots as s
    where s.run_no = v_run.run_no
      and s.snapshot_no < (
        select min(n.snapshot_no)
        from (
          select k.snapshot_no
          from tide_harness.snapshots as k
          where k.run_no = v_run.run_no
          order by k.snapshot_no desc
          limit save_snapshot.max_snapshots
        ) as n
      )
      and s.snapshot_no is distinct from (
        select max(k.snapshot_no)
        from tide_harness.snapshots as k
        where k.run_no = v_run.run_no
          and k.state = 'complete'
      );
  end if;
end;
$$;

comment on function tide_harness.save_snapshot is
  'Keep a point from which a run can go on: the messages up to base_hash, which are stored (else TD010), and '
  'those given. One whose key was saved before is left out. Of more than max_snapshots the oldest go; the '
  'newest complete one stays.';
