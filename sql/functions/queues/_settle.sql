-- Most outcomes only say that runs completed, and are right: those are found in one look. Whatever
-- else there is, a wrong id included, is read one by one, by what can name it.
create or replace function tide._settle(outcomes jsonb)
returns tide.verdict[]
language plpgsql
volatile
as $$
declare
  v_now constant timestamptz := tide._now();
  v_plain tide.completions;
  v_lanes text[];
  v_run_ids uuid[];
  v_lease_ids uuid[];
  v_settled uuid[] := array[]::uuid[];
  v_verdicts tide.verdict[];
begin
  if not tide._require_read_committed('settle') or outcomes = '[]' then
    return array[]::tide.verdict[];
  end if;
  v_plain := tide._parse_completions(outcomes);
  if v_plain.run_ids is not null then
    if v_plain.others is not null then
      -- Before runs end, which may lock their lane to wake its probe.
      v_lanes := array(
        select r.lane
        from tide.runs_active as r
        where r.run_id = any (v_plain.other_run_ids)
          and r.lane is not null
      );
      if cardinality(v_lanes) > 0 then
        v_lanes := v_lanes || tide._more_lanes(v_plain.other_run_ids);
        perform tide._lock_lanes(
          v_lanes, case when v_plain.others @? '$[*].throttle' then v_lanes end
        );
      end if;
    end if;
    -- In slices: each result is looked for among those of its slice.
    for v_first in 1 .. cardinality(v_plain.run_ids) by 500 loop
      v_run_ids := v_plain.run_ids[v_first:v_first + 499];
      v_lease_ids := v_plain.lease_ids[v_first:v_first + 499];
      -- Both in the order of the runs, so what is not as reported makes a difference. A run of another
      -- lease is not locked.
      if v_lease_ids = array(
          select r.lease_id
          from tide.runs_active as r
          where r.run_id = any (v_run_ids)
            and r.lease_id = any (v_lease_ids)
            -- Running, in words that do not name the small index of running runs.
            and r.leased_until is not null
            and (r.deadline_at is null or r.deadline_at > v_now)
          order by r.run_id
          for update skip locked
        )
      then
        v_settled := v_settled || tide._finish(
          v_run_ids, 'completed', results => v_plain.results[v_first:v_first + 499]
        );
      end if;
    end loop;
    if cardinality(v_settled) = cardinality(v_plain.run_ids) then
      if v_plain.others is null then
        v_verdicts := array[]::tide.verdict[];
      elsif not exists (
        select
        from jsonb_array_elements(v_plain.others) as o(outcome)
        where o.outcome ->> 'run_id' = any (v_settled::text[])
      ) then
        v_verdicts := tide._settle_others(v_plain.others, v_settled);
      end if;
    end if;
  end if;
  if v_verdicts is null then
    v_verdicts := tide._settle_others(outcomes, v_settled);
  end if;
  if outcomes @? '$[*].trace' then
    perform tide._trace_deliveries(_settle.outcomes, v_verdicts, v_now);
  end if;
  return v_verdicts;
end;
$$;

comment on function tide._settle is
  'Apply outcomes and return a verdict for each that was not plainly accepted.';
