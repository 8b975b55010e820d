-- Where a gate says who decides, an actor is the login itself, or the key whose hash was given: a
-- name alone proves nothing.
create or replace function tide._require_decider(
  run tide.runs,
  gate tide.gates,
  actor text,
  key tide.api_keys,
  for_others boolean
)
returns boolean
language plpgsql
stable
as $$
declare
  v_problem text;
begin
  if gate.assignees = '{}' and gate.quorum = 1 and not gate.not_requester then
    return true;
  end if;
  v_problem := case
    when actor is null then 'it names no actor'
    when actor <> coalesce(key.name, session_user) and not for_others
      then 'a login or key decides under its own name'
    when gate.not_requester and run.requested_by in (
        actor, 'key ' || actor, session_user, tide._acting(key)
      )
      then 'who requested the run may not decide'
    when gate.assignees <> '{}'
      and not tide._is_assigned(gate.assignees, actor)
      and not (gate.escalate_at <= tide._now() and tide._is_assigned(gate.escalate_to, actor))
      then 'it is assigned to others'
  end;
  if v_problem is null then
    return true;
  end if;
  raise exception 'login % may not decide gate % as %: %',
      session_user, gate.gate_id, coalesce(quote_literal(left(actor, 200)), 'nobody'), v_problem
    using errcode = '42501',
          hint = 'Let one of its assignees decide; the gate says who may.';
end;
$$;

comment on function tide._require_decider is
  'True, or 42501 when a gate says that others decide: assignees, each actor once, not who requested.';
