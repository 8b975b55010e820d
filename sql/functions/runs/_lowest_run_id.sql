create or replace function tide._lowest_run_id(moment timestamptz)
returns uuid
language plpgsql
immutable
parallel safe
strict
as $$
declare
  v_milliseconds constant numeric := floor(
    extract(epoch from _lowest_run_id.moment)::numeric * 1000
  );
begin
  if v_milliseconds not between 0 and 281474976710655 then
    raise exception 'a time is out of range: %', _lowest_run_id.moment
      using errcode = '22023',
            hint = 'Give a time from 1970 on and before the year 9900.';
  end if;
  return rpad(lpad(to_hex(v_milliseconds::bigint), 12, '0'), 32, '0')::uuid;
end;
$$;

comment on function tide._lowest_run_id is
  'The lowest id a run made at this time can have; ids of a caller that are not UUIDv7 sort elsewhere.';
