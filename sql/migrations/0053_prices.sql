-- tide: with the functions
-- Own prices of models. A new table only; record_usage is made again in this transaction.
create table tide.prices (
  provider text not null,
  model text not null,
  input_usd numeric not null,
  output_usd numeric not null,
  set_at timestamptz not null,
  set_by text not null,
  primary key (provider, model),
  constraint prices_are_not_negative check (input_usd >= 0 and output_usd >= 0)
);
comment on table tide.prices is
  'What models cost here, in dollars for a million tokens; it counts for usage without a cost.';
comment on column tide.prices.provider is '* = any provider that has no price of its own.';
drop function if exists tide.record_usage;
