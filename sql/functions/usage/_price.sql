create or replace function tide._price(usage tide.usage)
returns numeric
language plpgsql
stable
as $$
begin
  if usage.model is null then
    return null;
  end if;
  return (
    select trim_scale(
      (
        p.input_usd * coalesce(usage.input_tokens, 0)
        + p.output_usd * coalesce(usage.output_tokens, 0)
      ) / 1000000
    )
    from tide.prices as p
    where p.model = usage.model
      and p.provider in (usage.provider, '*')
      and num_nonnulls(usage.input_tokens, usage.output_tokens) > 0
    order by p.provider = '*'
    limit 1
  );
end;
$$;

comment on function tide._price is
  'What usage costs by the own prices; null where the model has none or no tokens are known.';
