create or replace function tide._parse_completions(outcomes jsonb)
returns tide.outcome[]
language plpgsql
stable
as $$
declare
  v_reports tide.outcome[];
begin
  if exists (
    select
    from jsonb_array_elements(_parse_completions.outcomes) as e(outcome)
    where e.outcome ?| '{error,retryable,failure_class,retry_after,release,delay}'
      or not e.outcome ?& '{run_id,lease_id}'
  ) then
    return null;
  end if;
  v_reports := array(
    select
      (
        x.run_id,
        x.lease_id,
        'completed',
        nullif(x.result, 'null'),
        null,
        null,
        null,
        null,
        tide._payload_problem(nullif(x.result, 'null'))
      )::tide.outcome
    from jsonb_to_recordset(_parse_completions.outcomes)
      as x(run_id uuid, lease_id uuid, result jsonb)
    order by x.run_id
  );
  if exists (
    select
    from unnest(v_reports) as o
    where o.run_id is null
      or o.lease_id is null
  ) then
    return null;
  end if;
  return v_reports;
exception
  when data_exception then
    return null;
end;
$$;

comment on function tide._parse_completions is
  'Outcomes by run_id when all of them are completions with ids that are ids; null otherwise.';
