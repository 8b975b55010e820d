-- Row by row, not in one statement: a page of a long stream then costs that page.
create or replace function tide.read_stream(
  run_id uuid,
  stream text,
  after bigint default 0,
  max_chunks integer default 1000
)
returns table ("position" bigint, kind text, chunk jsonb, step text, attempt integer)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_stream constant text := tide._valid_text('stream', read_stream.stream, 256);
  v_limit constant integer := tide._valid_integer(
    'max_chunks', read_stream.max_chunks, 1, 10000
  );
  v_after constant bigint := greatest(coalesce(read_stream.after, 0), 0);
  v_run tide.runs;
  v_row tide.stream_chunks;
  v_first bigint;
  v_given integer := 0;
  v_taken integer;
begin
  perform tide._require_run(read_stream.run_id);
  v_run := tide._find_run(read_stream.run_id);
  select s.position
  into v_first
  from tide.stream_chunks as s
  where s.run_id = v_run.run_id
    and s.stream = v_stream
    and s.position <= v_after + 1
  order by s.position desc
  limit 1;
  for v_row in
    select s.*
    from tide.stream_chunks as s
    where s.run_id = v_run.run_id
      and s.stream = v_stream
      and s.position >= coalesce(v_first, 0)
      and s.position + s.size - 1 > v_after
    order by s.position
  loop
    return query
    select
      v_row.position + c.ordinality - 1,
      case when v_row.chunks is null then 'restart' else 'chunk' end,
      c.chunk,
      v_row.step,
      v_row.attempt
    from jsonb_array_elements(coalesce(v_row.chunks, '[null]'))
      with ordinality as c(chunk, ordinality)
    where v_row.position + c.ordinality - 1 > v_after
    order by c.ordinality
    limit v_limit - v_given;
    get diagnostics v_taken = row_count;
    v_given := v_given + v_taken;
    exit when v_given >= v_limit;
  end loop;

  if v_given < v_limit and v_run.finished_at is not null then
    v_first := tide._stream_end(v_run.run_id, v_stream);
    if v_first = 0 then
      raise exception 'run % has ended and has no stream %', v_run.run_id,
          quote_literal(v_stream)
        using errcode = 'TD010',
              hint = 'See list_streams for its streams.';
    end if;
    return query select v_first, 'end', null::jsonb, null::text, v_run.attempt;
  end if;
end;
$$;

comment on function tide.read_stream is
  'What a run wrote to a stream beyond position after, oldest first. kind: chunk; restart = what this '
  'step, or the workflow itself, wrote before is void; end = the run has ended, nothing more comes. '
  'Unknown run, or an ended run without such a stream: TD010.';
