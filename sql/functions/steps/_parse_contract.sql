create or replace function tide._parse_contract(contract jsonb, approved boolean default false)
returns tide.steps
language plpgsql
stable
as $$
declare
  v_step tide.steps;
begin
  v_step.side_effects := '{}';
  if contract is null or contract = '{}' then
    v_step.replay := case when approved then 'manual' else 'auto' end;
    return v_step;
  end if;
  perform tide._known_keys(
    'contract',
    contract,
    array[
      'side_effects', 'idempotency_key', 'replay', 'checkpoint_invariant', 'verified_by', 'timeout'
    ]
  );
  if coalesce(contract -> 'side_effects', 'null') <> 'null' then
    if jsonb_typeof(contract -> 'side_effects') <> 'array'
      or jsonb_array_length(contract -> 'side_effects') > 100
      or jsonb_path_exists(contract, 'strict $.side_effects[*] ? (@.type() != "string")')
    then
      raise exception 'contract.side_effects is not a list of at most 100 names: %',
          left((contract -> 'side_effects')::text, 200)
        using errcode = '22023',
              hint = 'Give a list such as ["email.send"].';
    end if;
    v_step.side_effects := array(
      select tide._option_text('contract.side_effects', e.element, 256)
      from jsonb_array_elements(_parse_contract.contract -> 'side_effects') with ordinality
        as e(element, ordinality)
      order by e.ordinality
    );
  end if;
  v_step.idempotency_key := tide._option_text(
    'contract.idempotency_key', contract -> 'idempotency_key', 512
  );
  v_step.checkpoint_invariant := tide._option_text(
    'contract.checkpoint_invariant', contract -> 'checkpoint_invariant', 4096
  );
  v_step.verified_by := tide._option_text(
    'contract.verified_by', contract -> 'verified_by', 4096
  );
  v_step.timeout := tide._option_interval('contract.timeout', contract -> 'timeout');
  if v_step.timeout is not null then
    perform tide._valid_interval(
      'contract.timeout', v_step.timeout, '1 millisecond', '365 days'
    );
  end if;
  v_step.replay := contract ->> 'replay';
  if v_step.replay not in ('auto', 'manual', 'never') then
    raise exception 'contract.replay is not known: %', left((contract -> 'replay')::text, 200)
      using errcode = '22023',
            hint = 'Give auto, manual or never.';
  end if;
  v_step.replay := coalesce(
    v_step.replay,
    case
      when v_step.idempotency_key is not null then 'auto'
      when array['read'] @> v_step.side_effects and not approved then 'auto'
      else 'manual'
    end
  );
  return v_step;
end;
$$;

comment on function tide._parse_contract is
  'The contract columns of a step; replay, unless given, is auto without side effects other than '
  'read or with an idempotency key, else manual, as of a step that an approval has to cover. 22023 '
  'names what is wrong.';
