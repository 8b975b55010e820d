create or replace function tide._utc_offset(at timestamptz, time_zone text)
returns interval
language plpgsql
stable
parallel safe
as $$
begin
  return (_utc_offset.at at time zone _utc_offset.time_zone) - (_utc_offset.at at time zone 'UTC');
end;
$$;

comment on function tide._utc_offset is 'How far clocks of a zone are ahead of UTC at a time.';
