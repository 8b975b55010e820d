create or replace function tide._shut_out(run_ids uuid[])
returns text[]
language plpgsql
volatile
as $$
declare
  v_now constant timestamptz := tide._now();
  v_group record;
  v_said text;
  v_shut text[];
begin
  for v_group in
    select
      r.lane,
      l.throttled_until > v_now as throttled,
      array_agg(p.run_id order by p.place) as run_ids,
      array_agg(p.place order by p.place) as places
    from unnest(_shut_out.run_ids) with ordinality as p(run_id, place)
    join tide.runs_active as r on r.run_id = p.run_id
    join tide.lanes as l on l.lane = r.lane
    where l.throttled_until > v_now
      or l.opened_at is not null
    group by
      r.lane,
      l.throttled_until
    order by r.lane
  loop
    v_said := case
      when v_group.throttled then 'throttled'
      else tide._admit_probe(v_group.lane, v_group.run_ids)
    end;
    for v_rank in 1..cardinality(v_group.places) loop
      v_shut[v_group.places[v_rank]] := case
        when v_said = 'throttled' then 'lane'
        when v_said = 'busy' then 'busy'
        when v_said = 'open' or v_said = 'probe' and v_rank > 1 then 'provider'
      end;
    end loop;
  end loop;
  return v_shut;
end;
$$;

comment on function tide._shut_out is
  'What keeps picked runs from running whatever places are free, by their place among those picked: lane '
  '= it is throttled, provider = its breaker is open, busy = another transaction decides; null = nothing.';
