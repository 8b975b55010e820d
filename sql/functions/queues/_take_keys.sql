-- Between the look at a key and the insert another run of the key may have been made, and ended: a
-- statement with a newer snapshot sees that it holds the key. No other run can be made or end with a
-- key whose active run this transaction has just inserted.
create or replace function tide._take_keys(runs tide.new_run[], inserted uuid[])
returns uuid[]
language plpgsql
volatile
as $$
declare
  v_now constant timestamptz := tide._now();
  v_queue constant text := (runs[1]).queue;
  v_held uuid[];
  v_taken text[];
begin
  select
    array_agg(k.run_id) filter (where k.is_held),
    array_agg(k.dedupe_key) filter (where not k.is_held)
  into v_held, v_taken
  from (
    select
      n.run_id,
      n.dedupe_key,
      -- A run that is retried has no say: it takes its key.
      coalesce(n.on_conflict <> 'cancel', false) and n.until > v_now as is_held
    from (
      select
        u.run_id,
        u.dedupe_key,
        u.on_conflict,
        (
          select h.until
          from tide.held_keys as h
          where h.queue = v_queue
            and h.dedupe_key = u.dedupe_key
        ) as until
      from unnest(_take_keys.runs) as u
      where u.dedupe_key is not null
        and u.run_id = any (_take_keys.inserted)
    ) as n
    where n.until is not null
  ) as k;
  if v_taken is not null then
    delete from tide.held_keys as h
    where h.queue = v_queue
      and h.dedupe_key = any (v_taken);
  end if;
  return v_held;
end;
$$;

comment on function tide._take_keys is
  'Let inserted runs have their dedupe keys that no finished run holds any more, and return the ids of '
  'those whose keys one does.';
