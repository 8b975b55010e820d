create or replace function tide._parse_rules(rules jsonb, now timestamptz)
returns tide.gates
language plpgsql
stable
as $$
declare
  v_gate tide.gates;
  v_voters integer;
begin
  v_gate.quorum := 1;
  v_gate.assignees := '{}';
  v_gate.escalate_to := '{}';
  v_gate.not_requester := false;
  if coalesce(rules, 'null') in ('null', '{}') then
    return v_gate;
  end if;
  perform tide._known_keys(
    'rules',
    rules,
    array['answer', 'quorum', 'assignees', 'not_requester', 'escalate_after', 'escalate_to']
  );
  if coalesce(rules -> 'answer', 'null') <> 'null' then
    v_gate.answer_schema := tide._valid_schema(
      'rules.answer', tide._valid_payload('rules.answer', rules -> 'answer')
    );
  end if;
  v_gate.quorum := coalesce(
    tide._option_integer('rules.quorum', rules -> 'quorum', 1, 100), v_gate.quorum
  );
  v_gate.assignees := tide._valid_assignees('rules.assignees', rules -> 'assignees');
  v_gate.escalate_to := tide._valid_assignees('rules.escalate_to', rules -> 'escalate_to');
  v_gate.not_requester := coalesce(
    tide._option_boolean('rules.not_requester', rules -> 'not_requester'), false
  );
  v_gate.escalate_at := _parse_rules.now + tide._valid_timeout(
    tide._option_interval('rules.escalate_after', rules -> 'escalate_after')
  );
  if (v_gate.escalate_at is null) <> (v_gate.escalate_to = '{}')
    or (v_gate.escalate_to <> '{}' and v_gate.assignees = '{}')
  then
    raise exception 'rules.escalate_after and escalate_to do not fit together'
      using errcode = '22023',
            hint = 'Give assignees, and after which time who else may decide, or neither.';
  end if;
  v_voters := tide._count_voters(v_gate);
  if v_voters < v_gate.quorum then
    raise exception 'rules.quorum cannot be reached: % of % assignees', v_gate.quorum, v_voters
      using errcode = '22023',
            hint = 'Name more assignees or ask for fewer approvals.';
  end if;
  return v_gate;
end;
$$;

comment on function tide._parse_rules is
  'The columns of a gate that say who decides and how an answer looks; 22023 names what is wrong.';
