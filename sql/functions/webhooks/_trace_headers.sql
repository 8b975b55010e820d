-- Only what is of the form that W3C Trace Context gives: it becomes headers, and anybody may have written it.
create or replace function tide._trace_headers(carrier jsonb)
returns jsonb
language plpgsql
immutable
parallel safe
as $$
declare
  v_parent constant text := carrier ->> 'traceparent';
  v_state constant text := carrier ->> 'tracestate';
begin
  if v_parent ~ '^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$' then
    return jsonb_strip_nulls(
      jsonb_build_object(
        'traceparent', v_parent,
        'tracestate', case
          when length(v_state) <= 512 and v_state ~ '^[ -~]+$' then v_state
        end
      )
    );
  end if;
  return null;
end;
$$;

comment on function tide._trace_headers is
  'traceparent and tracestate out of what a propagator has written; null where they are none.';
