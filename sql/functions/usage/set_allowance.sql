create or replace function tide.set_allowance(
  scope text,
  unit text,
  amount numeric,
  per text default null,
  time_zone text default null,
  estimate numeric default null,
  actor text default null
)
returns tide.allowances
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_now constant timestamptz := tide._now();
  v_actor constant text := tide._valid_note('actor', set_allowance.actor);
  v_new tide.allowances;
  v_old tide.allowances;
  v_window timestamptz;
  v_free numeric;
begin
  perform tide._require_read_committed('set_allowance');
  v_new.allowance_id := tide._uuid7();
  v_new.scope := tide._valid_text('scope', set_allowance.scope, 256);
  v_new.unit := tide._valid_text('unit', set_allowance.unit, 128);
  v_new.amount := tide._valid_amount('amount', set_allowance.amount);
  v_new.per := tide._valid_window(set_allowance.per);
  v_new.time_zone := tide._valid_time_zone(coalesce(set_allowance.time_zone, 'UTC'));
  v_new.created_at := v_now;
  v_new.updated_at := v_now;
  if v_new.amount is null then
    raise exception 'amount of scope % is null', quote_literal(v_new.scope)
      using errcode = '22023',
            hint = 'Give what may be spent, or remove the allowance with tide.drop_allowance.';
  end if;
  if (set_allowance.estimate > 0 and set_allowance.estimate <= 1000000000000000) is false then
    raise exception 'estimate is out of range: %', left(set_allowance.estimate::text, 200)
      using errcode = '22023',
            hint = 'Give more than 0: what a step reserves that has no estimate of its own.';
  end if;
  v_new.estimate := coalesce(set_allowance.estimate, nullif(v_new.amount / 100, 0), 1);
  insert into tide.allowances
  select (v_new).*
  on conflict on constraint allowances_pkey do nothing;
  if found then
    insert into tide.purses (allowance_id, purse, share, free, began_at)
    select
      v_new.allowance_id,
      g.purse,
      0,
      0,
      tide._window_start(v_new.per, v_new.time_zone, v_now)
    from generate_series(1, 16) as g(purse);
    v_window := tide._window_start(v_new.per, v_new.time_zone, v_now);
    v_free := v_new.amount;
  else
    v_old := (
      select a
      from tide.allowances as a
      where a.scope = v_new.scope
        and a.unit = v_new.unit
        and a.per = v_new.per
      for no key update
    );
    if v_old.allowance_id is null then
      raise exception 'the allowance of scope % is being dropped', quote_literal(v_new.scope)
        using errcode = '40001',
              hint = 'Call again.';
    elsif set_allowance.time_zone is not null and v_old.time_zone <> v_new.time_zone then
      raise exception 'the allowance of scope % has time zone %, not %',
          quote_literal(v_new.scope), v_old.time_zone, v_new.time_zone
        using errcode = '22023',
              hint = 'Drop it and set it again: a window under way would have two beginnings.';
    end if;
    v_new.estimate := coalesce(set_allowance.estimate, v_old.estimate);
    update tide.allowances as a
    set
      amount = v_new.amount,
      estimate = v_new.estimate,
      updated_at = v_now
    where a.allowance_id = v_old.allowance_id
      and a.scope = v_old.scope
      and a.unit = v_old.unit
      and a.per = v_old.per
    returning a.* into v_new;
    select
      o.began_at,
      o.free + v_new.amount - v_old.amount
    into
      v_window,
      v_free
    from tide._open_purses(
      v_new.allowance_id, tide._window_start(v_new.per, v_new.time_zone, v_now)
    ) as o;
  end if;
  perform tide._note_change(
    'allowance',
    v_new.scope || ' ' || v_new.unit || '/' || v_new.per,
    null,
    v_actor,
    jsonb_strip_nulls(
      jsonb_build_object('amount', v_old.amount, 'estimate', v_old.estimate)
    ),
    jsonb_build_object('amount', v_new.amount, 'estimate', v_new.estimate)
  );
  update tide.purses as p
  set share = s.share
  from tide._shares(v_new.amount) as s
  where p.allowance_id = v_new.allowance_id
    and p.purse = s.purse;
  perform tide._spread(v_new.allowance_id, v_window, v_free, v_new.estimate);
  perform tide._wake_waiting(v_new.allowance_id);
  return v_new;
end;
$$;

comment on function tide.set_allowance is
  'Set what the runs of a scope may spend together: amount of unit (usd, tokens, or a unit of quantities) '
  'per window: null = ever, day, month, or an interval such as 5 hours; days and months begin in time_zone, '
  'UTC unless given. estimate is what a step reserves that has none of its own, a hundredth unless given. '
  'What is spent and reserved stays so. Runs that wait go on if enough is left now.';
