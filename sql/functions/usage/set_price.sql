create or replace function tide.set_price(
  provider text,
  model text,
  input_usd numeric,
  output_usd numeric,
  actor text default null
)
returns tide.prices
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_actor constant text := tide._valid_note('actor', set_price.actor);
  v_price tide.prices;
  v_old tide.prices;
begin
  v_price.provider := tide._valid_text('provider', set_price.provider, 128);
  v_price.model := tide._valid_text('model', set_price.model, 256);
  v_price.input_usd := tide._valid_amount('input_usd', set_price.input_usd);
  v_price.output_usd := tide._valid_amount('output_usd', set_price.output_usd);
  v_price.set_at := tide._now();
  v_price.set_by := session_user;
  if (set_price.input_usd is null) <> (set_price.output_usd is null) then
    raise exception 'the price of model % is incomplete', quote_literal(set_price.model)
      using errcode = '22023',
            hint = 'Give input_usd and output_usd, dollars for a million tokens, or null for '
                   'both to remove the price.';
  end if;
  v_old := (
    select p
    from tide.prices as p
    where p.provider = set_price.provider
      and p.model = set_price.model
    for no key update
  );
  perform tide._note_change(
    'price',
    v_price.provider || '/' || v_price.model,
    null,
    v_actor,
    jsonb_strip_nulls(
      jsonb_build_object('input_usd', v_old.input_usd, 'output_usd', v_old.output_usd)
    ),
    jsonb_strip_nulls(
      jsonb_build_object('input_usd', v_price.input_usd, 'output_usd', v_price.output_usd)
    )
  );
  if set_price.input_usd is null then
    delete from tide.prices as p
    where p.provider = set_price.provider
      and p.model = set_price.model;
    return v_price;
  end if;
  insert into tide.prices as p (provider, model, input_usd, output_usd, set_at, set_by)
  values (
    v_price.provider,
    v_price.model,
    v_price.input_usd,
    v_price.output_usd,
    v_price.set_at,
    v_price.set_by
  )
  on conflict on constraint prices_pkey do update
  set
    input_usd = excluded.input_usd,
    output_usd = excluded.output_usd,
    set_at = excluded.set_at,
    set_by = excluded.set_by;
  return v_price;
end;
$$;

comment on function tide.set_price is
  'Set what a model of a provider, or of any (*), costs in dollars for a million tokens; null for both '
  'removes it. Usage recorded from then on without cost_usd is priced by it.';
