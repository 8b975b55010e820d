create or replace function tide._usual_estimate(most numeric, taken numeric, unit text)
returns numeric
language plpgsql
immutable
parallel safe
as $$
begin
  return least(
    case
      when unit = 'usd' then most / 100
      else ceil(most / 100)
    end,
    nullif(greatest(most - taken, 0), 0)
  );
end;
$$;

comment on function tide._usual_estimate is
  'What a step without an estimate reserves of a budget: a hundredth, at most what is left.';
