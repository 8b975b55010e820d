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
  v_run_ids uuid[];
  v_lease_ids uuid[];
  v_settled uuid[] := array[]::uuid[];
begin
  if not tide._require_read_committed('settle') or outcomes = '[]' then
    return array[]::tide.verdict[];
  end if;
  v_plain := tide._parse_completions(outcomes);
  if v_plain.run_ids is not null then
    -- In slices: each report is looked for among those of its slice.
    for v_first in 1 .. cardinality(v_plain.run_ids) by 500 loop
      v_run_ids := v_plain.run_ids[v_first:v_first + 499];
      v_lease_ids := v_plain.lease_ids[v_first:v_first + 499];
      if cardinality(v_run_ids) = cardinality(
          array(
            select r.run_id
            from tide.runs_active as r
            where r.run_id = any (v_run_ids)
              and r.lease_id = v_lease_ids[array_position(v_run_ids, r.run_id)]
              -- Running, in words that do not name the small index of running runs.
              and r.leased_until is not null
              and (r.deadline_at is null or r.deadline_at > v_now)
            for update skip locked
          )
        )
      then
        v_settled := v_settled || tide._finish(
          v_run_ids, 'completed', results => v_plain.results[v_first:v_first + 499]
        );
      end if;
    end loop;
    if cardinality(v_settled) = cardinality(v_plain.run_ids) then
      if v_plain.others is null then
        return array[]::tide.verdict[];
      elsif not exists (
        select
        from jsonb_array_elements(v_plain.others) as o(outcome)
        where o.outcome ->> 'run_id' = any (v_settled::text[])
      ) then
        return tide._settle_others(v_plain.others, array[]::uuid[]);
      end if;
    end if;
  end if;
  return tide._settle_others(outcomes, v_settled);
end;
$$;

comment on function tide._settle is
  'Apply outcomes and return a verdict for each that was not plainly accepted.';
