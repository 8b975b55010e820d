create or replace function tide._restart_stream(
  run_id uuid,
  stream text,
  step text,
  attempt integer,
  lease_id uuid
)
returns void
language plpgsql
volatile
as $$
declare
  -- Before anything goes: a position is never used twice.
  v_end constant bigint := tide._stream_end(_restart_stream.run_id, _restart_stream.stream);
begin
  delete from tide.stream_chunks as s
  where s.run_id = _restart_stream.run_id
    and s.stream = _restart_stream.stream
    and s.step is not distinct from _restart_stream.step;
  insert into tide.stream_chunks (
    run_id, stream, position, size, step, attempt, lease_id, appended_at
  )
  values (
    _restart_stream.run_id,
    _restart_stream.stream,
    v_end + 1,
    1,
    _restart_stream.step,
    _restart_stream.attempt,
    _restart_stream.lease_id,
    tide._now()
  );
end;
$$;

comment on function tide._restart_stream is
  'Remove what a step, or the workflow itself, wrote in an earlier execution, and leave a mark.';
