create or replace function tide._question_hash(prompt text, data jsonb)
returns bytea
language plpgsql
immutable
parallel safe
as $$
begin
  return tide._input_hash(jsonb_build_array(prompt, data));
end;
$$;

comment on function tide._question_hash is 'sha256 of what a gate asks, by the rule of step inputs.';
