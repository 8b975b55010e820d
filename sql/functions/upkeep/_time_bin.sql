-- In SQL, so that it is inlined.
create or replace function tide._time_bin(seconds double precision)
returns integer
language sql
immutable
parallel safe
as $$
select case
  when _time_bin.seconds operator(pg_catalog.<=) 0.001 then 0
  when _time_bin.seconds operator(pg_catalog.>) 0.001 then least(
    160,
    pg_catalog.ceil(
      4 operator(pg_catalog.*) pg_catalog.ln(_time_bin.seconds operator(pg_catalog.*) 1000)
        operator(pg_catalog./) pg_catalog.ln(2::double precision)
    )
  )::integer
end
$$;

comment on function tide._time_bin is 'The bin a length of time is counted in.';
