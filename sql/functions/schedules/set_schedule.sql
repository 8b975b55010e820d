-- The row lock makes a declaration and a fire take turns. A declaration that does not change when
-- the schedule fires leaves next_fire_at alone, also when it lies in the past: what is due stays due.
create or replace function tide.set_schedule(
  name text,
  cron text,
  workflow text,
  input jsonb default '{}',
  queue text default 'default',
  time_zone text default 'UTC',
  misfire text default 'one',
  overlap text default 'allow',
  max_attempts integer default null,
  priority integer default 0,
  deadline interval default null,
  metadata jsonb default '{}',
  enabled boolean default true,
  key_hash bytea default null,
  actor text default null,
  lane text default null,
  lane_key text default null,
  cost numeric default null,
  also_lanes jsonb default null
)
returns tide.schedules
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now constant timestamptz := tide._now();
  v_actor constant text := tide._valid_note('actor', set_schedule.actor);
  v_old tide.schedules;
  v_new tide.schedules;
begin
  v_new.schedule := tide._valid_name('name', set_schedule.name);
  v_new.timing := tide._parse_cron(set_schedule.cron);
  v_new.cron := btrim(set_schedule.cron, E' \t');
  v_new.time_zone := tide._valid_time_zone(set_schedule.time_zone);
  v_new.workflow := tide._valid_name('workflow', set_schedule.workflow);
  v_new.input := coalesce(tide._valid_payload('input', set_schedule.input), '{}');
  v_new.queue := tide._valid_name('queue', set_schedule.queue);
  perform tide._require_queue(v_new.queue, 'enqueue');
  v_new.priority := coalesce(tide._valid_priority(set_schedule.priority), 0);
  v_new.deadline := tide._valid_deadline(set_schedule.deadline);
  v_new.metadata := tide._valid_metadata('metadata', set_schedule.metadata);
  v_new.misfire := tide._valid_choice('misfire', set_schedule.misfire, '{one,skip,all}');
  v_new.overlap := tide._valid_choice('overlap', set_schedule.overlap, '{allow,skip}');
  v_new.enabled := coalesce(set_schedule.enabled, true);
  v_new.lane := tide._valid_lane(v_new.queue, set_schedule.lane, set_schedule.lane_key);
  v_new.lane_key := set_schedule.lane_key;
  v_new.cost := tide._valid_cost(v_new.lane, v_new.lane_key, set_schedule.cost);
  v_new.also_lanes := tide._valid_also_lanes(
    v_new.queue, v_new.lane, set_schedule.also_lanes
  );
  v_new.created_at := v_now;
  v_new.requested_by := tide._acting(tide._acting_key(set_schedule.key_hash));
  v_new.next_fire_at := tide._next_fire(v_new.timing, v_now, v_new.time_zone);
  if set_schedule.max_attempts is not null then
    v_new.max_attempts := tide._valid_integer('max_attempts', set_schedule.max_attempts, 1, 100);
  end if;

  loop
    insert into tide.schedules as s (
      schedule, cron, time_zone, timing, workflow, input, queue, priority, max_attempts, deadline,
      metadata, misfire, overlap, enabled, next_fire_at, created_at, updated_at, requested_by,
      lane, lane_key, cost, also_lanes
    )
    values (
      v_new.schedule,
      v_new.cron,
      v_new.time_zone,
      v_new.timing,
      v_new.workflow,
      v_new.input,
      v_new.queue,
      v_new.priority,
      v_new.max_attempts,
      v_new.deadline,
      v_new.metadata,
      v_new.misfire,
      v_new.overlap,
      v_new.enabled,
      v_new.next_fire_at,
      v_now,
      v_now,
      v_new.requested_by,
      v_new.lane,
      v_new.lane_key,
      v_new.cost,
      v_new.also_lanes
    )
    on conflict on constraint schedules_pkey do nothing
    returning s.* into v_old;
    if found then
      perform tide._note_change(
        'schedule', v_old.schedule, v_old.queue, v_actor, '{}', tide._schedule_settings(v_old)
      );
      perform tide._wake_workers(v_new.queue, 1);
      return v_old;
    end if;
    -- One that is dropped between the two looks is made anew in the next round.
    v_old := (
      select s
      from tide.schedules as s
      where s.schedule = v_new.schedule
      for no key update
    );
    exit when v_old.schedule is not null;
  end loop;
  -- The name of a schedule is taken by whatever queue it has.
  perform tide._require_schedule(v_new.schedule, 'enqueue');
  if (v_old.timing, v_old.time_zone, v_old.enabled)
    is not distinct from (v_new.timing, v_new.time_zone, v_new.enabled)
  then
    v_new.next_fire_at := v_old.next_fire_at;
  else
    perform tide._drop_due_fires(v_old, v_now);
  end if;
  update tide.schedules as s
  set
    cron = v_new.cron,
    time_zone = v_new.time_zone,
    timing = v_new.timing,
    workflow = v_new.workflow,
    input = v_new.input,
    queue = v_new.queue,
    priority = v_new.priority,
    max_attempts = v_new.max_attempts,
    deadline = v_new.deadline,
    metadata = v_new.metadata,
    misfire = v_new.misfire,
    overlap = v_new.overlap,
    enabled = v_new.enabled,
    next_fire_at = v_new.next_fire_at,
    updated_at = v_now,
    requested_by = v_new.requested_by,
    lane = v_new.lane,
    lane_key = v_new.lane_key,
    cost = v_new.cost,
    also_lanes = v_new.also_lanes
  where s.schedule = v_new.schedule
  returning s.* into v_new;
  perform tide._note_change(
    'schedule',
    v_new.schedule,
    v_new.queue,
    v_actor,
    tide._schedule_settings(v_old),
    tide._schedule_settings(v_new)
  );
  perform tide._wake_workers(v_new.queue, 1);
  return v_new;
end;
$$;

comment on function tide.set_schedule is
  'Declare a schedule: each fire of cron in time_zone enqueues a run. The same declaration again '
  'changes nothing and loses no due fire. misfire one, skip or all says what becomes of fires nobody '
  'was there for, overlap allow or skip whether a run may start beside an earlier one. Who declares a '
  'schedule requests its runs, with key_hash as enqueue; lane, lane_key, cost and also_lanes are those of '
  'enqueue. '
  'Bad: 22023; a lane that is not set: TD010.';
