create or replace function tide._valid_prompt(prompt text)
returns text
language plpgsql
immutable
parallel safe
as $$
begin
  if octet_length(prompt) between 1 and 65536 then
    return prompt;
  end if;
  raise exception 'prompt is not valid: %',
      case
        when prompt is null then 'null'
        when prompt = '' then 'it is empty'
        else format('it has %s bytes', octet_length(prompt))
      end
    using errcode = '22023',
          hint = 'Say in 1 to 65536 bytes what is to be decided.';
end;
$$;

comment on function tide._valid_prompt is 'The question a gate asks, or 22023.';
