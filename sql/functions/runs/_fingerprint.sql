create or replace function tide._fingerprint(failure_class text, step text, error jsonb)
returns text
language plpgsql
immutable
parallel safe
as $$
begin
  return left(
    encode(
      sha256(
        convert_to(
          concat_ws(
            E'\n',
            coalesce(_fingerprint.failure_class, ''),
            coalesce(tide._step_family(_fingerprint.step), ''),
            coalesce(_fingerprint.error ->> 'type', ''),
            coalesce(tide._fold_error(tide._error_message(_fingerprint.error)), '')
          ),
          'UTF8'
        )
      ),
      'hex'
    ),
    16
  );
end;
$$;

comment on function tide._fingerprint is
  'What failures of one kind share, as 16 hexadecimal digits: class, step, type and folded message.';
