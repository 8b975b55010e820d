create or replace function tide._admit_probe(lane text, picked uuid[])
returns text
language plpgsql
volatile
as $$
declare
  v_lane constant tide.lanes := tide._judge_breaker(_admit_probe.lane);
begin
  if v_lane.lane is null then
    return 'busy';
  elsif v_lane.opened_at is null then
    return 'closed';
  elsif not tide._may_probe(v_lane, picked) then
    return 'open';
  end if;
  update tide.lanes as l
  set
    probe_id = _admit_probe.picked[1],
    probed_at = tide._now()
  where l.lane = v_lane.lane;
  return 'probe';
end;
$$;

comment on function tide._admit_probe is
  'What the breaker of a lane says of picked runs of it: closed = all may run, open = none, probe = the '
  'first, busy = another transaction decides just now.';
