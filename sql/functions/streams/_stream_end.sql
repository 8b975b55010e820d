create or replace function tide._stream_end(run_id uuid, stream text)
returns bigint
language plpgsql
stable
as $$
declare
  v_end bigint;
begin
  select s.position + s.size - 1
  into v_end
  from tide.stream_chunks as s
  where s.run_id = _stream_end.run_id
    and s.stream = _stream_end.stream
  order by s.position desc
  limit 1;
  return coalesce(v_end, 0);
end;
$$;

comment on function tide._stream_end is
  'The position of the last chunk or mark of a stream; 0 = nothing was written.';
