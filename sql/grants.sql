-- Last of all: a function that was just created is executable by PUBLIC.
revoke all on schema tide from public;
revoke all on all tables in schema tide from public;
revoke all on all sequences in schema tide from public;
revoke all on all routines in schema tide from public;

-- What default privileges of the owner gave to others goes: no table is for anybody else, and a
-- view or a public function only for those to whom it was granted as such.
do $$
declare
  v_given record;
begin
  for v_given in
    select distinct
      case c.relkind when 'S' then 'sequence' else 'table' end as kind,
      c.oid::pg_catalog.regclass::text as name,
      x.grantee::pg_catalog.regrole::text as grantee
    from pg_catalog.pg_class as c
    cross join lateral pg_catalog.aclexplode(c.relacl) as x
    left join pg_catalog.pg_default_acl as d
      on d.defaclrole = c.relowner
      and d.defaclobjtype = 'r'
      and d.defaclnamespace in (0, c.relnamespace)
    where c.relnamespace = 'tide'::pg_catalog.regnamespace
      and x.grantee not in (0, c.relowner)
      and (
        c.relkind in ('r', 'p', 'S')
        or (
          c.relkind = 'v'
          and d.oid is not null
          and exists (
            select
            from pg_catalog.aclexplode(d.defaclacl) as g
            where g.grantee = x.grantee
          )
        )
      )
    union all
    select distinct
      'routine',
      p.oid::pg_catalog.regprocedure::text,
      x.grantee::pg_catalog.regrole::text
    from pg_catalog.pg_proc as p
    cross join lateral pg_catalog.aclexplode(p.proacl) as x
    join pg_catalog.pg_default_acl as d
      on d.defaclrole = p.proowner
      and d.defaclobjtype = 'f'
      and d.defaclnamespace in (0, p.pronamespace)
    cross join lateral pg_catalog.aclexplode(d.defaclacl) as g
    where p.pronamespace = 'tide'::pg_catalog.regnamespace
      and g.grantee = x.grantee
      and x.grantee not in (0, p.proowner)
    union all
    select distinct
      'type',
      t.oid::pg_catalog.regtype::text,
      x.grantee::pg_catalog.regrole::text
    from pg_catalog.pg_type as t
    cross join lateral pg_catalog.aclexplode(t.typacl) as x
    join pg_catalog.pg_default_acl as d
      on d.defaclrole = t.typowner
      and d.defaclobjtype = 'T'
      and d.defaclnamespace in (0, t.typnamespace)
    cross join lateral pg_catalog.aclexplode(d.defaclacl) as g
    where t.typnamespace = 'tide'::pg_catalog.regnamespace
      and t.typelem = 0
      and g.grantee = x.grantee
      and x.grantee not in (0, t.typowner)
    union all
    select distinct
      'schema',
      'tide',
      x.grantee::pg_catalog.regrole::text
    from pg_catalog.pg_namespace as n
    cross join lateral pg_catalog.aclexplode(n.nspacl) as x
    join pg_catalog.pg_default_acl as d
      on d.defaclrole = n.nspowner
      and d.defaclobjtype = 'n'
    cross join lateral pg_catalog.aclexplode(d.defaclacl) as g
    where n.nspname = 'tide'
      and g.grantee = x.grantee
      and x.grantee not in (0, n.nspowner)
    order by
      1,
      2,
      3
  loop
    execute pg_catalog.format(
      'revoke all on %s %s from %s', v_given.kind, v_given.name, v_given.grantee
    );
  end loop;
  for v_given in
    select distinct x.grantee::pg_catalog.regrole::text as grantee
    from pg_catalog.pg_namespace as n
    join pg_catalog.pg_default_acl as d on d.defaclrole = n.nspowner
    cross join lateral pg_catalog.aclexplode(d.defaclacl) as x
    where n.nspname = 'tide'
      and d.defaclnamespace in (0, n.oid)
      and x.grantee not in (0, n.nspowner)
    order by 1
  loop
    raise warning 'default privileges give % rights on what the owner of the schema makes',
        v_given.grantee
      using hint = 'They were taken back in the schema tide.';
  end loop;
end;
$$;

-- Who may do what, a role that does not exist gets nothing. No role gets a table.
do $$
declare
  v_prefix constant text := (select n.prefix from tide.role_names as n);
  v_grants constant jsonb := '{
    "client": [
      "version", "authenticate_key",
      "enqueue", "enqueue_many", "create_run", "cancel", "cancel_children", "get_run",
      "list_runs", "describe_run", "explain_wait", "list_events", "watch_run",
      "list_children", "list_child_runs",
      "send_event", "send_events", "get_gate", "describe_gate", "resolve_gate", "get_state",
      "state_versions", "get_step",
      "list_snapshots", "list_usage", "next_fire", "read_stream", "list_streams", "recover"
    ],
    "worker": [
      "version", "authenticate_key",
      "claim", "settle", "settle_and_claim", "await_work", "next_wakeup", "heartbeat",
      "create_run", "begin_run", "complete", "fail", "release", "get_run", "list_events",
      "hold_run", "refuse_report", "renew_run", "describe_run",
      "begin_step", "complete_step", "fail_step", "report_steps", "get_step",
      "open_gate", "await_gate", "get_gate", "describe_gate",
      "spawn", "spawn_many", "await_children", "list_children", "list_child_runs",
      "cancel_children", "sleep",
      "await_event", "send_event", "send_events", "set_state", "patch_state", "save_state",
      "get_state",
      "state_versions", "create_snapshot", "list_snapshots", "record_usage", "list_usage",
      "append_stream", "read_stream", "list_streams",
      "claim_deliveries", "finish_delivery", "throttle",
      "reconcile", "_sweep", "_sweeps", "_valid_integer", "_valid_interval"
    ],
    "operator": [
      "version", "authenticate_key", "store_channel_secret",
      "get_run", "list_runs", "describe_run", "explain_wait", "list_events", "watch_run",
      "list_children", "list_child_runs", "get_gate", "get_state", "state_versions",
      "list_snapshots", "list_usage", "cancel", "cancel_many", "cancel_children",
      "retry", "redrive", "reschedule", "revoke_lease", "fork_run",
      "resolve_step", "describe_gate", "decide_gate", "note_gate", "send_event", "send_events",
      "set_budget",
      "set_queue", "set_lane", "drop_lane", "list_lanes", "throttle", "grant_queue",
      "list_setting_changes",
      "revoke_queue", "set_schedule", "drop_schedule", "pause_schedule", "resume_schedule",
      "fire_schedule", "list_schedules", "list_fires", "next_fire", "next_wakeup",
      "read_stream", "list_streams",
      "list_deliveries", "redeliver", "set_webhook_secret", "grant_secret", "recover",
      "gate_tokens",
      "create_key", "list_keys", "revoke_key", "set_price", "list_prices",
      "set_allowance", "drop_allowance", "list_allowances",
      "prune", "set_retention", "pause", "resume", "adopt", "_now", "_metrics",
      "overview", "find_runs", "search_runs", "count_runs", "error_groups", "outline_run",
      "get_step", "outline_events",
      "list_queues", "throughput", "run_times", "run_time_buckets", "list_workers", "list_gates",
      "next_fires",
      "outline_schedules", "list_endpoints", "find_deliveries",
      "reconcile", "_sweep", "_sweeps", "_valid_integer", "_valid_interval"
    ],
    "viewer": [
      "version", "authenticate_key", "_now", "_metrics",
      "overview", "find_runs", "outline_run", "outline_events", "list_queues", "list_lanes",
      "list_allowances",
      "throughput", "run_times", "run_time_buckets", "list_workers", "next_fires",
      "outline_schedules", "list_endpoints",
      "find_deliveries"
    ],
    "approver": [
      "version", "authenticate_key",
      "get_gate", "describe_gate", "list_gates", "gate_tokens", "decide_gate",
      "resolve_gate", "note_gate"
    ]
  }';
  v_views constant text[] := array[
    'queue_stats', 'lane_stats', 'health', 'metrics', 'run_overview', 'step_overview', 'event_overview',
    'gate_overview', 'delivery_overview', 'schedule_overview', 'usage_by_run',
    'usage_by_workflow', 'usage_by_day'
  ];
  v_grant record;
begin
  for v_grant in
    select
      r.rolname,
      p.oid::pg_catalog.regprocedure as routine
    from pg_catalog.jsonb_each(v_grants) as g(role, functions)
    join pg_catalog.pg_roles as r on r.rolname = v_prefix || g.role
    join pg_catalog.pg_proc as p on g.functions ? p.proname::text
    where p.pronamespace = 'tide'::pg_catalog.regnamespace
    order by
      r.rolname,
      p.proname
  loop
    execute pg_catalog.format(
      'grant execute on routine %s to %I', v_grant.routine, v_grant.rolname
    );
  end loop;
  for v_grant in
    select
      r.rolname,
      v.name
    from pg_catalog.pg_roles as r
    cross join pg_catalog.unnest(v_views) as v(name)
    where r.rolname in (v_prefix || 'viewer', v_prefix || 'operator')
  loop
    execute pg_catalog.format('grant select on tide.%I to %I', v_grant.name, v_grant.rolname);
  end loop;
  for v_grant in
    select r.rolname
    from pg_catalog.pg_roles as r
    where pg_catalog.starts_with(r.rolname, v_prefix)
      and v_grants ? pg_catalog.substr(r.rolname, pg_catalog.length(v_prefix) + 1)
  loop
    execute pg_catalog.format('grant usage on schema tide to %I', v_grant.rolname);
    if v_grant.rolname in (v_prefix || 'operator', v_prefix || 'approver') then
      execute pg_catalog.format('grant select on tide.pending_gates to %I', v_grant.rolname);
    end if;
  end loop;
end;
$$;
