-- A good name and a small input are taken as they are, which most elements have and nothing else;
-- offset 0 keeps what was found out about an element from being found out again for each column.
-- Without options these are null, and what is asked of them costs nothing.
create or replace function tide._parse_batch(
  runs jsonb,
  now timestamptz,
  usual_attempts integer,
  argument text default null
)
returns table (
  ordinal bigint,
  run_id uuid,
  workflow text,
  input jsonb,
  metadata jsonb,
  dedupe_key text,
  priority integer,
  max_attempts integer,
  run_at timestamptz,
  deadline interval,
  backoff jsonb,
  budget jsonb,
  on_conflict text,
  channels jsonb
)
language plpgsql
stable
parallel safe
as $$
begin
  return query
  select
    g.ordinal,
    case
      when g.options ? 'run_id'
        then tide._option_uuid(g.argument || '.run_id', g.options -> 'run_id')
    end,
    case
      when g.is_plain then g.element ->> 'workflow'
      else tide._valid_name(
        g.argument || '.workflow',
        tide._option_text(g.argument || '.workflow', g.element -> 'workflow', 128)
      )
    end,
    coalesce(
      case
        when g.is_plain then nullif(g.element -> 'input', 'null')
        else tide._valid_payload(g.argument || '.input', nullif(g.element -> 'input', 'null'))
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
        tide._option_integer(g.argument || '.priority', g.options -> 'priority', -32768, 32767), 0
      )
      else 0
    end,
    case
      when g.options ? 'max_attempts' then coalesce(
        tide._option_integer(g.argument || '.max_attempts', g.options -> 'max_attempts', 1, 100),
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
    case
      when g.options ? 'deadline' then tide._valid_deadline(
        tide._option_interval(g.argument || '.deadline', g.options -> 'deadline'),
        g.argument || '.'
      )
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
      when g.options ? 'on_conflict'
        then tide._valid_on_conflict(g.argument || '.on_conflict', g.options -> 'on_conflict')
      else 'return'
    end,
    g.options -> 'channels'
  from (
    select
      o.ordinal,
      o.element,
      o.options,
      o.is_plain,
      case
        when o.is_plain and o.options is null then null
        when o.options - o.known = '{}'
          or tide._known_keys(
            coalesce(_parse_batch.argument, format('runs[%s]', o.ordinal - 1)), o.element, o.known
          )
          then coalesce(_parse_batch.argument, format('runs[%s]', o.ordinal - 1))
      end as argument
    from (
      select
        e.ordinality as ordinal,
        e.element,
        tide._is_plain(e.element) as is_plain,
        case
          when jsonb_typeof(e.element) = 'object'
            then nullif(e.element - '{workflow,input}'::text[], '{}')
        end as options,
        array[
          'workflow', 'input', 'dedupe_key', 'priority', 'delay', 'run_at', 'max_attempts',
          'deadline', 'metadata', 'on_conflict', 'run_id', 'backoff', 'budget', 'channels'
        ] as known
      from jsonb_array_elements(_parse_batch.runs) with ordinality as e(element, ordinality)
      order by e.ordinality
      offset 0
    ) as o
    offset 0
  ) as g;
end;
$$;

comment on function tide._parse_batch is
  'What the elements of an array ask for, each with the argument names of enqueue, or 22023 naming '
  'the element and the argument. run_id is null unless it is given; channels are not looked at.';
