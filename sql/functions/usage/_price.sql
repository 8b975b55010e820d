create or replace function tide._price(usage tide.usage)
returns numeric
language sql
stable
as $$
  select trim_scale(
    (
      p.input_usd * coalesce((_price.usage).input_tokens, 0)
      + p.output_usd * coalesce((_price.usage).output_tokens, 0)
    ) / 1000000
  )
  from tide.prices as p
  where p.model = (_price.usage).model
    and p.provider in ((_price.usage).provider, '*')
    and num_nonnulls((_price.usage).input_tokens, (_price.usage).output_tokens) > 0
  order by p.provider = '*'
  limit 1;
$$;

comment on function tide._price is
  'What usage costs by the own prices; null where the model has none or no tokens are known.';
