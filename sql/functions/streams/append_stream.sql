create or replace function tide.append_stream(
  run_id uuid,
  lease_id uuid,
  stream text,
  chunks jsonb,
  step text default null,
  after bigint default null
)
returns bigint
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_stream constant text := tide._valid_text('stream', append_stream.stream, 256);
  v_chunks constant jsonb := tide._valid_chunks(append_stream.chunks);
  v_size constant integer := jsonb_array_length(v_chunks);
  v_run constant tide.runs := tide._hold(append_stream.run_id, append_stream.lease_id);
  v_attempt integer := v_run.attempt;
  v_step tide.steps;
  v_end bigint;
  v_lease_id uuid;
begin
  perform tide._require_read_committed('append_stream');
  if append_stream.step is not null then
    v_step := tide._held_step(v_run, append_stream.step);
    if v_step.status <> 'running' then
      raise exception 'step % of run % is % and writes to no stream',
          quote_literal(v_step.name), v_run.run_id, v_step.status
        using errcode = 'TD030',
              hint = 'Write while the step runs, or name no step.';
    end if;
    v_attempt := v_step.attempt;
    if not v_step.streamed then
      update tide.steps as s
      set streamed = true
      where s.run_id = v_step.run_id
        and s.name = v_step.name;
    end if;
  else
    select s.lease_id
    into v_lease_id
    from tide.stream_chunks as s
    where s.run_id = v_run.run_id
      and s.stream = v_stream
      and s.step is null
    order by s.position desc
    limit 1;
    if v_lease_id <> v_run.lease_id then
      perform tide._restart_stream(v_run.run_id, v_stream, null, v_attempt, v_run.lease_id);
    end if;
  end if;

  if append_stream.after is not null then
    -- A writer sends one batch at a time: what it wrote beyond the last it knows of is this batch.
    select s.position + s.size - 1
    into v_end
    from tide.stream_chunks as s
    where s.run_id = v_run.run_id
      and s.stream = v_stream
      and s.position > append_stream.after
      and s.step is not distinct from append_stream.step
      and s.attempt = v_attempt
      and s.lease_id = v_run.lease_id
      and s.chunks is not null
    order by s.position desc
    limit 1;
    if found then
      return v_end;
    end if;
  end if;

  v_end := tide._stream_end(v_run.run_id, v_stream);
  if v_end + v_size > 1000000 then
    raise exception 'stream % of run % is full: it has % chunks and would get % more',
        quote_literal(v_stream), v_run.run_id, v_end, v_size
      using errcode = 'TD040',
            detail = 'A stream holds a million chunks.',
            hint = 'Write larger chunks, or go on in another stream.';
  end if;
  insert into tide.stream_chunks (
    run_id, stream, position, size, step, attempt, lease_id, chunks, appended_at
  )
  values (
    v_run.run_id,
    v_stream,
    v_end + 1,
    v_size,
    append_stream.step,
    v_attempt,
    v_run.lease_id,
    v_chunks,
    tide._now()
  );
  perform tide._notify_readers(v_run.run_id);
  return v_end + v_size;
end;
$$;

comment on function tide.append_stream is
  'Append chunks, an array, to a stream of a leased run and return the position of the last. step is '
  'the running step they belong to; what it, or the workflow itself, wrote in an earlier execution is '
  'void. after is the position answered last: then the same call again appends nothing.';
