-- Who writes deliveries of a run has locked its row, as the caller has by now.
create or replace function tide._trace_deliveries(
  outcomes jsonb,
  verdicts tide.verdict[],
  written_since timestamptz
)
returns void
language plpgsql
volatile
as $$
begin
  update tide.deliveries as d
  set trace = t.trace
  from (
    select
      (e.outcome ->> 'run_id')::uuid as run_id,
      tide._trace_headers(e.outcome -> 'trace') as trace
    from jsonb_array_elements(_trace_deliveries.outcomes) as e(outcome)
    where e.outcome ? 'trace'
  ) as t
  where d.run_id = t.run_id
    and d.created_at >= _trace_deliveries.written_since
    and t.trace is not null
    and not exists (
      select
      from unnest(_trace_deliveries.verdicts) as v
      where v.run_id = t.run_id
        and not v.accepted
    );
end;
$$;

comment on function tide._trace_deliveries is
  'Write the traces of attempts on the deliveries that their outcomes have just made.';
