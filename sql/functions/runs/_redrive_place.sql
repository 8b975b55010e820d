create or replace function tide._redrive_place(place jsonb)
returns tide.redrive_place
language plpgsql
stable
as $$
declare
  v_now constant timestamptz := tide._now();
  v_place tide.redrive_place;
begin
  if coalesce(_redrive_place.place, 'null') = 'null' then
    v_place.failed_until := v_now;
    v_place.run_at := v_now;
    return v_place;
  end if;
  perform tide._known_keys('place', _redrive_place.place, '{before,failed_until,run_at}');
  v_place.before := tide._option_uuid('place.before', place -> 'before');
  v_place.failed_until := tide._option_time('place.failed_until', place -> 'failed_until');
  v_place.run_at := tide._option_time('place.run_at', place -> 'run_at');
  if v_place.failed_until is null or v_place.run_at is null then
    raise exception 'place is none that redrive gave: %', left(_redrive_place.place::text, 200)
      using errcode = '22023',
            hint = 'Give next, or start of a dry run, as it was answered.';
  end if;
  v_place.run_at := greatest(v_place.run_at, v_now);
  return v_place;
end;
$$;

comment on function tide._redrive_place is 'Where a redrive goes on; null = where one begins, now.';
