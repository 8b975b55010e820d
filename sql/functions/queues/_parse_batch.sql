-- A good name and a good input are taken as they are, which most elements have and nothing else;
-- offset 0 keeps what was found out about an element from being found out again for each column.
-- Without options these are null, and what is asked of them costs nothing.
create or replace function tide._parse_batch(
  queue text,
  runs jsonb,
  now timestamptz,
  usual_attempts integer,
  edges text[] default null,
  parent_id uuid default null,
  requested_by text default null
)
returns tide.new_run[]
language plpgsql
volatile
as $$
declare
  -- Ids that are not given come out of this one.
  v_first constant text := tide._uuid7()::text;
  v_known constant text[] := array[
    'workflow', 'input', 'dedupe_key', 'priority', 'delay', 'run_at', 'max_attempts', 'deadline',
    'metadata', 'on_conflict', 'run_id', 'backoff', 'budget', 'channels', 'recovery_url', 'lane',
    'lane_key', 'cost', 'also_lanes', 'after', 'after_mode', 'after_failure'
  ] || case
    when _parse_batch.parent_id is null then '{debounce,dedupe_for}'::text[]
  end;
begin
  return array(
    select (
      case
        when g.options ? 'run_id'
          then coalesce(
            tide._option_uuid(g.argument || '.run_id', g.options -> 'run_id'),
            tide._batch_uuid7(v_first, g.ordinal)
          )
        else tide._batch_uuid7(v_first, g.ordinal)
      end,
      case
        when g.is_plain then g.element ->> 'workflow'
        else tide._valid_name(
          g.argument || '.workflow',
          tide._option_text(g.argument || '.workflow', g.element -> 'workflow', 128)
        )
      end,
      _parse_batch.queue,
      coalesce(
        case
          when g.is_plain then g.input
          else tide._valid_payload(g.argument || '.input', g.input)
        end,
        '{}'
      ),
      case
        when g.options ? 'metadata' then tide._valid_metadata(
          g.argument || '.metadata', nullif(g.options -> 'metadata', 'null')
        )
        else '{}'
      end,
      case
        when g.options ? 'dedupe_key'
          then tide._option_text(g.argument || '.dedupe_key', g.options -> 'dedupe_key', 512)
      end,
      case
        when g.options ? 'priority' then coalesce(
          tide._option_integer(
            g.argument || '.priority', g.options -> 'priority', -32768, 32767
          ),
          0
        )
        else 0
      end,
      case
        when g.options ? 'max_attempts' then coalesce(
          tide._option_integer(
            g.argument || '.max_attempts', g.options -> 'max_attempts', 1, 100
          ),
          _parse_batch.usual_attempts
        )
        else _parse_batch.usual_attempts
      end,
      case
        when g.options ?| '{delay,run_at}' then tide._valid_start(
          _parse_batch.now,
          tide._option_interval(g.argument || '.delay', g.options -> 'delay'),
          tide._option_time(g.argument || '.run_at', g.options -> 'run_at'),
          g.argument || '.',
          tide._option_interval(g.argument || '.deadline', g.options -> 'deadline')
        )
        else _parse_batch.now
      end,
      _parse_batch.now,
      case
        when g.options ? 'deadline' then tide._valid_deadline(
          tide._option_interval(g.argument || '.deadline', g.options -> 'deadline'),
          g.argument || '.'
        )
      end,
      case
        when g.options ? 'deadline'
          then _parse_batch.now
            + tide._option_interval(g.argument || '.deadline', g.options -> 'deadline')
      end,
      case
        when g.options ? 'backoff'
          then tide._valid_backoff(nullif(g.options -> 'backoff', 'null'), g.argument || '.')
      end,
      case
        when g.options ? 'budget'
          then tide._valid_budget(nullif(g.options -> 'budget', 'null'), g.argument || '.')
      end,
      case
        when g.options ->> 'recovery_url' is not null
          and tide._require_urls(_parse_batch.queue)
          then tide._valid_url(
            g.argument || '.recovery_url',
            tide._option_text(g.argument || '.recovery_url', g.options -> 'recovery_url', 2048)
          )
      end,
      g.options ->> 'run_id' is not null,
      case
        when g.debounce is not null then 'replace'
        when g.options ? 'on_conflict'
          then tide._valid_on_conflict(g.argument || '.on_conflict', g.options -> 'on_conflict')
        else 'return'
      end,
      _parse_batch.requested_by,
      -- That a child was made, or a run that comes after others, is an event that names these.
      case
        when _parse_batch.parent_id is null and g.after_mode is null then 1
        else 0
      end,
      _parse_batch.parent_id,
      null,
      1,
      0,
      null,
      null,
      null,
      case
        when g.options ?| '{lane,lane_key}' then tide._valid_lane(
          _parse_batch.queue,
          tide._option_text(g.argument || '.lane', g.options -> 'lane', 128),
          tide._option_text(g.argument || '.lane_key', g.options -> 'lane_key', 256),
          g.argument || '.'
        )
      end,
      case
        when g.options ? 'lane_key'
          then tide._option_text(g.argument || '.lane_key', g.options -> 'lane_key', 256)
      end,
      g.after_mode,
      case
        when g.after_mode is not null
          then coalesce(
            tide._option_text(g.argument || '.after_failure', g.options -> 'after_failure', 20),
            'cancel'
          )
      end,
      null,
      g.debounce,
      case
        when g.options ->> 'dedupe_for' is not null then tide._valid_dedupe_for(
          g.argument || '.',
          tide._option_interval(g.argument || '.dedupe_for', g.options -> 'dedupe_for'),
          g.options ->> 'dedupe_key'
        )
      end,
      case
        when g.options ? 'cost' then tide._valid_cost(
          g.options ->> 'lane',
          g.options ->> 'lane_key',
          tide._option_number(g.argument || '.cost', g.options -> 'cost'),
          g.argument || '.'
        )
      end,
      case
        when g.options ? 'also_lanes' then tide._valid_also_lanes(
          _parse_batch.queue,
          g.options ->> 'lane',
          g.options -> 'also_lanes',
          g.argument || '.'
        )
      end
    )::tide.new_run
    from (
      select
        n.ordinal,
        n.element,
        n.input,
        n.options,
        n.is_plain,
        n.argument,
        case
          when n.options ?| '{after,after_mode,after_failure}' then tide._valid_after(
            n.argument || '.',
            n.options -> 'after',
            tide._option_text(n.argument || '.after_mode', n.options -> 'after_mode', 20),
            tide._option_text(n.argument || '.after_failure', n.options -> 'after_failure', 20),
            case
              when n.options ->> 'debounce' is not null then 'replace'
              else n.options ->> 'on_conflict'
            end
          )
        end as after_mode,
        case
          when n.options ->> 'debounce' is not null then tide._valid_debounce(
            n.argument || '.',
            tide._option_interval(n.argument || '.debounce', n.options -> 'debounce'),
            n.options ->> 'dedupe_key',
            num_nonnulls(n.options ->> 'delay', n.options ->> 'run_at') > 0,
            coalesce(n.options ->> 'on_conflict', 'return')
          )
        end as debounce
      from (
        select
          o.ordinal,
          o.element,
          o.input,
          o.options,
          o.is_plain,
          case
            when o.is_plain and o.options is null then null
            when o.options - o.known = '{}'
              or tide._known_keys(
                tide._batch_argument(_parse_batch.edges[o.ordinal], o.ordinal), o.element, o.known
              )
              then tide._batch_argument(_parse_batch.edges[o.ordinal], o.ordinal)
          end as argument
        from (
          select
            e.ordinal,
            e.element,
            e.input,
            tide._is_plain(e.element, e.input) as is_plain,
            case
              when jsonb_typeof(e.element) = 'object'
                then nullif(e.element - '{workflow,input}'::text[], '{}')
            end as options,
            v_known as known
          from (
            select
              a.ordinality as ordinal,
              a.element,
              nullif(a.element -> 'input', 'null') as input
            from jsonb_array_elements(_parse_batch.runs) with ordinality as a(element, ordinality)
            order by a.ordinality
            offset 0
          ) as e
          offset 0
        ) as o
        offset 0
      ) as n
    ) as g
    order by g.ordinal
  );
end;
$$;

comment on function tide._parse_batch is
  'The runs the elements of an array ask for, in its order, each with the argument names of enqueue, or '
  '22023 naming the element, a child by its edge, and the argument; channels are not looked at.';
