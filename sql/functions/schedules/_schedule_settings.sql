create or replace function tide._schedule_settings(schedule tide.schedules)
returns jsonb
language plpgsql
immutable
parallel safe
as $$
begin
  return jsonb_strip_nulls(
    jsonb_build_object(
      'cron', schedule.cron,
      'time_zone', schedule.time_zone,
      'workflow', schedule.workflow,
      'input', schedule.input,
      'queue', schedule.queue,
      'priority', schedule.priority,
      'max_attempts', schedule.max_attempts,
      'deadline', schedule.deadline,
      'metadata', schedule.metadata,
      'misfire', schedule.misfire,
      'overlap', schedule.overlap,
      'enabled', schedule.enabled,
      'paused', schedule.paused,
      'lane', schedule.lane,
      'lane_key', schedule.lane_key,
      'cost', schedule.cost,
      'also_lanes', schedule.also_lanes
    )
  );
end;
$$;

comment on function tide._schedule_settings is 'The settings given to a schedule.';
