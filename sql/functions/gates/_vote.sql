-- A rejection decides once the quorum is out of reach: at once where nobody knows how many may vote.
create or replace function tide._vote(
  gate tide.gates,
  decision text,
  actor text,
  payload jsonb,
  comment text,
  login text,
  for_others boolean
)
returns boolean
language plpgsql
volatile
as $$
declare
  v_earlier tide.gate_votes;
  v_approvals integer;
  v_rejections integer;
  v_voters integer;
begin
  if gate.quorum = 1 or decision = 'canceled' then
    return true;
  end if;
  v_earlier := (
    select v
    from tide.gate_votes as v
    where v.run_id = gate.run_id
      and v.gate_id = gate.gate_id
      and (v.actor = _vote.actor or (v.login = _vote.login and not _vote.for_others))
    order by v.created_at
    limit 1
  );
  if v_earlier.run_id is not null then
    if (v_earlier.actor, v_earlier.decision, v_earlier.payload)
      is distinct from (_vote.actor, _vote.decision, _vote.payload)
    then
      raise exception '% has already voted about gate %: %',
          v_earlier.actor, gate.gate_id, v_earlier.decision
        using errcode = 'TD022',
              detail = format('At %s.', v_earlier.created_at),
              hint = 'Each actor votes once.';
    end if;
    return false;
  end if;
  insert into tide.gate_votes (
    run_id, gate_id, actor, login, decision, payload, comment, created_at
  )
  values (
    gate.run_id,
    gate.gate_id,
    _vote.actor,
    _vote.login,
    _vote.decision,
    _vote.payload,
    _vote.comment,
    tide._now()
  );
  select
    count(*) filter (where v.decision = 'approved'),
    count(*) filter (where v.decision = 'rejected')
  into v_approvals, v_rejections
  from tide.gate_votes as v
  where v.run_id = gate.run_id
    and v.gate_id = gate.gate_id;
  perform tide._log(
    gate.run_id,
    'gate.voted',
    jsonb_build_object(
      'gate_id', gate.gate_id,
      'name', gate.name,
      'decision', _vote.decision,
      'actor', _vote.actor,
      'approvals', v_approvals,
      'quorum', gate.quorum
    ) || tide._said('comment', _vote.comment),
    renews => false
  );
  if decision = 'approved' then
    return v_approvals >= gate.quorum;
  end if;
  v_voters := tide._count_voters(gate);
  return v_voters is null or v_voters - v_rejections < gate.quorum;
end;
$$;

comment on function tide._vote is
  'Write a vote down where a gate takes several; true = with it the gate is decided.';
