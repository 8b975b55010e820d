create or replace function tide._write_used(run tide.runs, used tide.usage[])
returns void
language plpgsql
volatile
as $$
declare
  v_usage tide.usage;
begin
  foreach v_usage in array used loop
    perform tide._write_usage(run, v_usage, renews => true);
  end loop;
end;
$$;

comment on function tide._write_used is
  'Store what a step of a leased run used, as _parse_used read it.';
