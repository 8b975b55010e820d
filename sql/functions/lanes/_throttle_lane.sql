-- Of what several callers say the latest holds: who was told to wait a second does not end the hour
-- that another was told.
create or replace function tide._throttle_lane(
  lane text,
  until timestamptz,
  reason text,
  claimed_at timestamptz
)
returns void
language plpgsql
volatile
as $$
declare
  v_until constant timestamptz := case
    when _throttle_lane.until > tide._now() then _throttle_lane.until
  end;
begin
  update tide.lanes as l
  set
    throttled_until = greatest(l.throttled_until, v_until),
    throttle_reason = case
      when l.throttled_until >= v_until or v_until is null then l.throttle_reason
      else _throttle_lane.reason
    end,
    (adaptive_limit, adaptive_round, cut_at) = (
      select
        nullif(greatest(coalesce(l.adaptive_min, 1), tide._line_most(l, '') / 2), l.total),
        gen_random_uuid(),
        tide._now()
      where tide._is_refusal(l, _throttle_lane.claimed_at)
      union all
      select
        l.adaptive_limit,
        l.adaptive_round,
        l.cut_at
      where not tide._is_refusal(l, _throttle_lane.claimed_at)
    )
  where l.lane = _throttle_lane.lane
    and (
      v_until is not null and (l.throttled_until is null or l.throttled_until < v_until)
      or tide._is_refusal(l, _throttle_lane.claimed_at)
    );
end;
$$;

comment on function tide._throttle_lane is
  'Let no run of a lane be claimed before a time, unless it is throttled for longer already, since its '
  'provider refused a run claimed at a time; an adaptive limit is halved. Several lanes are throttled in '
  'the order of their names.';
