create or replace function tide._parse_outcome(value jsonb)
returns tide.outcome
language plpgsql
volatile
as $$
declare
  v_outcome tide.outcome;
begin
  v_outcome.run_id := tide._option_uuid('outcomes.run_id', value -> 'run_id');
  v_outcome.lease_id := tide._option_uuid('outcomes.lease_id', value -> 'lease_id');
  if v_outcome.run_id is null or v_outcome.lease_id is null then
    raise exception 'outcomes has an element without run_id or lease_id'
      using errcode = '22023',
            hint = 'Give the run_id and lease_id that claim returned.';
  end if;
  if value ? 'result' and value ?| '{error,release}'
    or value ? 'error' and value ?| '{release,delay,throttle}'
    or value ?| '{retryable,failure_class,retry_after}' and not value ? 'error'
    or value ?| '{delay,throttle}' and not value ? 'release'
  then
    raise exception 'outcomes has an element that says two things: %',
        (
          select string_agg(o.key, ', ' order by o.key)
          from jsonb_object_keys(
            _parse_outcome.value - '{run_id,lease_id,trace,used}'::text[]
          ) as o(key)
        )
      using errcode = '22023',
            hint = 'Give result; or error with retryable, failure_class, retry_after; '
                   'or release with delay and throttle.';
  end if;
  if value ? 'error' then
    v_outcome.verb := 'failed';
    v_outcome.error := coalesce(nullif(value -> 'error', 'null'), '{}');
    v_outcome.problem := tide._payload_problem(v_outcome.error);
    v_outcome.retryable := coalesce(
      tide._option_boolean('outcomes.retryable', value -> 'retryable'), true
    );
    if jsonb_typeof(value -> 'failure_class') not in ('string', 'null') then
      raise exception 'outcomes.failure_class is not text: %',
          left((value -> 'failure_class')::text, 200)
        using errcode = '22023';
    end if;
    v_outcome.failure_class := value ->> 'failure_class';
    v_outcome.delay := tide._option_interval('outcomes.retry_after', value -> 'retry_after');
    -- One outcome that cannot be applied must not keep the others from being settled.
    if not tide._is_name(v_outcome.failure_class)
      or v_outcome.delay not between interval '0' and interval '365 days'
    then
      v_outcome.problem := 'bad_outcome';
    end if;
  elsif tide._option_boolean('outcomes.release', value -> 'release') then
    v_outcome.verb := 'released';
    v_outcome.delay := coalesce(tide._option_interval('outcomes.delay', value -> 'delay'), '0');
    if jsonb_typeof(value -> 'throttle') not in ('string', 'null') then
      raise exception 'outcomes.throttle is not text: %', left((value -> 'throttle')::text, 200)
        using errcode = '22023';
    end if;
    v_outcome.throttle := value ->> 'throttle';
    if v_outcome.delay not between interval '0' and interval '365 days'
      or octet_length(v_outcome.throttle) > 4096
    then
      v_outcome.problem := 'bad_outcome';
    end if;
  else
    v_outcome.verb := 'completed';
    v_outcome.result := nullif(value -> 'result', 'null');
    v_outcome.problem := tide._payload_problem(v_outcome.result);
  end if;
  if value ? 'used' then
    v_outcome.used := nullif(value -> 'used', 'null');
    if v_outcome.used is not null and not tide._is_usable(v_outcome.used) then
      v_outcome.problem := 'bad_outcome';
    end if;
  end if;
  return v_outcome;
end;
$$;

comment on function tide._parse_outcome is
  'One outcome: error means failed, release true means released, else completed.';
