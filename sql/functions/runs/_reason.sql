create or replace function tide._reason(
  reason text,
  detail text,
  facts jsonb default '{}'
)
returns jsonb
language plpgsql
immutable
parallel safe
as $$
begin
  return jsonb_build_array(
    jsonb_build_object('reason', _reason.reason, 'detail', _reason.detail)
      || coalesce(_reason.facts, '{}')
  );
end;
$$;

comment on function tide._reason is
  'A list of one reason, for explain_wait. facts may be null: the row a run waits for is gone.';
