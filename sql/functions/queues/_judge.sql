create or replace function tide._judge(report tide.outcome)
returns tide.verdict
language plpgsql
volatile
as $$
declare
  v_run tide.runs;
begin
  if report.problem is not null then
    return (report.run_id, false, report.problem)::tide.verdict;
  end if;
  v_run := (
    select r
    from tide.runs as r
    where r.run_id = report.run_id
  );
  if v_run.lease_id = report.lease_id and v_run.ended_by = report.verb then
    return (report.run_id, true, 'repeated')::tide.verdict;
  end if;
  return (
    report.run_id,
    false,
    case
      when v_run.run_id is null or not tide._may_use(v_run.queue) then 'missing'
      when v_run.status = 'cancelled' then 'cancelled'
      when v_run.status in ('completed', 'failed') then 'finished'
      when v_run.status = 'running' and v_run.lease_id = report.lease_id then 'busy'
      else 'lost'
    end
  )::tide.verdict;
end;
$$;

comment on function tide._judge is
  'Why an outcome was not applied, in the words of settle: the same report again is accepted; busy = '
  'it is right, but another transaction holds the row of the run.';
