create or replace function tide._counted_units(lane tide.lanes, usage tide.usage)
returns bigint
language plpgsql
immutable
parallel safe
as $$
begin
  -- No lane allows as much, and no sum overflows.
  return least(
    coalesce(
      case
        when lane.unit = 'tokens' and usage.total_tokens is not null then usage.total_tokens
        when lane.unit = usage.unit then ceil(usage.quantity)
      end,
      0
    ),
    1000000000000000
  );
end;
$$;

comment on function tide._counted_units is 'How many units of a lane some recorded usage is; 0 = none.';
