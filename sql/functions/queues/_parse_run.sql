create or replace function tide._parse_run(
  argument text,
  queue text,
  max_attempts integer,
  now timestamptz,
  value jsonb
)
returns tide.runs
language plpgsql
volatile
as $$
declare
  v_run tide.runs;
begin
  v_run.run_id := coalesce(
    tide._option_uuid(argument || '.run_id', value -> 'run_id'), tide._uuid7()
  );
  v_run.queue := _parse_run.queue;
  v_run.created_at := _parse_run.now;
  v_run.workflow := tide._valid_name(
    argument || '.workflow',
    tide._option_text(argument || '.workflow', value -> 'workflow', 128)
  );
  v_run.input := coalesce(
    tide._valid_payload(argument || '.input', nullif(value -> 'input', 'null')), '{}'
  );
  v_run.metadata := '{}';
  v_run.priority := 0;
  v_run.max_attempts := _parse_run.max_attempts;
  v_run.run_at := _parse_run.now;
  v_run.ready := true;
  -- Most runs of a batch name no more than this.
  if (value - '{workflow,input,run_id}'::text[]) <> '{}' then
    v_run.metadata := tide._valid_metadata(
      argument || '.metadata', nullif(value -> 'metadata', 'null')
    );
    v_run.dedupe_key := tide._option_text(
      argument || '.dedupe_key', value -> 'dedupe_key', 512
    );
    v_run.priority := coalesce(
      tide._option_integer(argument || '.priority', value -> 'priority', -32768, 32767), 0
    );
    v_run.max_attempts := coalesce(
      tide._option_integer(argument || '.max_attempts', value -> 'max_attempts', 1, 100),
      v_run.max_attempts
    );
    v_run.run_at := tide._valid_start(
      _parse_run.now,
      tide._option_interval(argument || '.delay', value -> 'delay'),
      tide._option_time(argument || '.run_at', value -> 'run_at'),
      argument || '.'
    );
    v_run.ready := v_run.run_at <= _parse_run.now;
    v_run.deadline := tide._valid_deadline(
      tide._option_interval(argument || '.deadline', value -> 'deadline'), argument || '.'
    );
    v_run.deadline_at := _parse_run.now + v_run.deadline;
    v_run.backoff := tide._valid_backoff(nullif(value -> 'backoff', 'null'), argument || '.');
    v_run.budget := tide._valid_budget(nullif(value -> 'budget', 'null'), argument || '.');
    if coalesce(value ->> 'on_conflict', 'return') not in ('return', 'replace', 'raise') then
      raise exception '%.on_conflict is not known: %', argument,
          left((value -> 'on_conflict')::text, 200)
        using errcode = '22023',
              hint = 'Give return, replace or raise.';
    end if;
  end if;
  return v_run;
end;
$$;

comment on function tide._parse_run is
  'A queued run out of an object with the argument names of enqueue, or 22023 naming the argument.';
