-- As with places: a purse is locked first and what it holds is read in a later statement.
create or replace function tide._tend_purses(max_purses integer)
returns integer
language plpgsql
volatile
as $$
declare
  v_now constant timestamptz := tide._now();
  v_purse tide.lane_purses;
  v_lane tide.lanes;
  v_tended integer := 0;
begin
  for v_purse in
    select p.*
    from tide.lane_purses as p
    where p.looked_at < v_now - interval '1 minute'
    order by p.looked_at
    limit _tend_purses.max_purses
    for no key update skip locked
  loop
    v_tended := v_tended + 1;
    v_lane := tide._find_lane(v_purse.lane);
    perform tide._fold_charges(
      v_purse.lane,
      v_purse.lane_key,
      v_purse.purse,
      coalesce(v_lane.period, '1 hour'),
      fold => (
        select count(*) = tide._many_charges()
        from (
          select
          from tide.lane_charges as c
          where c.lane = v_purse.lane
            and c.lane_key = v_purse.lane_key
            and c.purse = v_purse.purse
            and not c.open
          order by c.lane, c.lane_key, c.purse, c.charged_at, c.charge_id
          limit tide._many_charges()
        ) as s
      )
    );
    if exists (
        select
        from tide._charged(v_purse.lane, v_purse.lane_key, '-infinity') as c
        where c.purse = v_purse.purse
      )
      or v_purse.lane_key = '' and v_lane.units is not null
    then
      update tide.lane_purses as p
      set looked_at = v_now
      where p.lane = v_purse.lane
        and p.lane_key = v_purse.lane_key
        and p.purse = v_purse.purse;
    else
      delete from tide.lane_purses as p
      where p.lane = v_purse.lane
        and p.lane_key = v_purse.lane_key
        and p.purse = v_purse.purse;
    end if;
  end loop;
  -- What set_lane could not see beside this.
  for v_lane in
    select l.*
    from tide.lanes as l
    where l.units is not null
      and (
        select count(*)
        from tide.lane_purses as p
        where p.lane = l.lane
          and p.lane_key = ''
      ) < tide._purse_count('')
    order by l.lane
    limit _tend_purses.max_purses
    for no key update skip locked
  loop
    perform tide._make_purses(v_lane.lane, '');
  end loop;
  return v_tended;
end;
$$;

comment on function tide._tend_purses is
  'Look at purses not looked at for a minute: forget what was charged to them longer ago than a period, and '
  'those nobody needs; make those that a lane lacks.';
