create or replace function tide._shut_until(lane text)
returns timestamptz
language plpgsql
stable
as $$
declare
  v_now constant timestamptz := tide._now();
  v_lane constant tide.lanes := tide._find_lane(_shut_until.lane);
begin
  return nullif(
    greatest(
      v_now,
      v_lane.throttled_until,
      case
        when v_lane.opened_at is not null and not tide._is_answered(lane) then v_lane.probe_at
      end
    ),
    v_now
  );
end;
$$;

comment on function tide._shut_until is
  'Until when a lane gives nothing: it is throttled, or open until a probe; null = it is neither, or one '
  'may probe now.';
