create or replace function tide._parse_outcomes(outcomes jsonb)
returns tide.outcome[]
language plpgsql
volatile
as $$
declare
  v_reports tide.outcome[];
  v_twice uuid;
begin
  perform tide._valid_elements(
    'outcomes',
    _parse_outcomes.outcomes,
    array[
      'run_id', 'lease_id', 'result', 'error', 'retryable', 'failure_class', 'retry_after',
      'release', 'delay', 'throttle', 'trace', 'used'
    ],
    10000
  );
  v_reports := array(
    select o.report
    from (
      select tide._parse_outcome(e.outcome) as report
      from jsonb_array_elements(_parse_outcomes.outcomes) as e(outcome)
    ) as o
    order by (o.report).run_id
  );
  select o.run_id
  into v_twice
  from unnest(v_reports) as o
  group by o.run_id
  having count(*) > 1
  order by o.run_id
  limit 1;
  if found then
    raise exception 'outcomes name run % twice', v_twice
      using errcode = '22023',
            hint = 'Report one outcome for each run.';
  end if;
  return v_reports;
end;
$$;

comment on function tide._parse_outcomes is
  'Outcomes of runs by run_id, out of an array of objects, or 22023 naming what is wrong.';
