-- Only what is of the form that W3C Trace Context gives: it becomes headers, and anybody may have written it.
create or replace function tide._trace_headers(run_id uuid)
returns jsonb
language plpgsql
stable
parallel safe
as $$
begin
  return (
    select jsonb_strip_nulls(
      jsonb_build_object(
        'traceparent', t.parent,
        'tracestate', case
          when length(t.state) <= 512 and t.state ~ '^[ -~]+$' then t.state
        end
      )
    )
    from tide.runs as r
    cross join lateral (
      select
        r.metadata -> 'trace' ->> 'traceparent' as parent,
        r.metadata -> 'trace' ->> 'tracestate' as state
    ) as t
    where r.run_id = _trace_headers.run_id
      and t.parent ~ '^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$'
  );
end;
$$;

comment on function tide._trace_headers is
  'traceparent and tracestate of who made the run, out of its metadata; null where it has none.';
