create or replace function tide._tick(promotes integer default 0)
returns boolean
language plpgsql
volatile
as $$
declare
  v_now constant timestamptz := tide._now();
  v_next_at timestamptz;
  v_paused_at timestamptz;
  v_has_due boolean;
  v_has_overdue boolean;
begin
  select
    -- A time further ahead than a tick ever writes is from before the clock was set back.
    case
      when t.next_at <= v_now + interval '10 seconds' or t.next_at = 'infinity' then t.next_at
      else '-infinity'
    end,
    tide._paused_at(),
    -- Most claims find nothing due: a look is cheaper than an update of nothing.
    case
      when _tick.promotes > 0 then exists (
        select
        from tide.runs_active as r
        where r.status = 'queued'
          and not r.ready
          and r.run_at <= v_now
      )
    end,
    _tick.promotes > 0 and exists (
      select
      from tide.runs_active as r
      where r.deadline_at is not null
        and r.deadline_at <= v_now
    )
  into v_next_at, v_paused_at, v_has_due, v_has_overdue
  from tide.ticks as t;
  if v_next_at > v_now then
    if v_paused_at is not null then
      return false;
    end if;
  elsif tide._carry_tick(v_paused_at) then
    v_has_due := true;
  else
    return false;
  end if;
  -- Claims pass over overdue runs, so each of them clears some away.
  if v_has_overdue then
    perform tide._sweep('overdue', 100);
  end if;
  if v_has_due and promotes > 0 then
    perform tide._promote(promotes);
  end if;
  return true;
end;
$$;

comment on function tide._tick is
  'What every claim begins with: the small tick when it is due, then due runs made ready, at most so '
  'many. False while the installation is paused: then nothing may be claimed.';
