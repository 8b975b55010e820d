create or replace function tide._shut_out(asks tide.lane_asks[])
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
      a.lane,
      l.throttled_until > v_now as throttled,
      array_agg(a.run_id order by a.ask) as run_ids,
      array_agg(a.ask order by a.ask) as asks
    from unnest(_shut_out.asks) with ordinality as a(
      place, run_id, hold_id, lane, lane_key, cost, ask
    )
    join tide.lanes as l on l.lane = a.lane
    where l.throttled_until > v_now
      or l.opened_at is not null
    group by
      a.lane,
      l.throttled_until
    order by a.lane
  loop
    v_said := case
      when v_group.throttled then 'throttled'
      else tide._admit_probe(v_group.lane, v_group.run_ids)
    end;
    for v_rank in 1..cardinality(v_group.asks) loop
      v_shut[v_group.asks[v_rank]] := case
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
  'What keeps runs from a lane whatever places are free, by ask: lane = it is throttled, provider = its '
  'breaker is open, busy = another transaction decides; null = nothing.';
