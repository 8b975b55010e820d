create or replace function tide._valid_after(
  prefix text,
  after jsonb,
  mode text,
  failure text,
  on_conflict text
)
returns text
language plpgsql
immutable
parallel safe
as $$
declare
  v_count integer;
begin
  if mode is not null then
    perform tide._valid_choice(prefix || 'after_mode', mode, '{all,any}');
  end if;
  if failure is not null then
    perform tide._valid_choice(prefix || 'after_failure', failure, '{cancel,fail,run}');
  end if;
  if coalesce(_valid_after.after, 'null') = 'null' then
    v_count := 0;
  elsif jsonb_typeof(_valid_after.after) = 'array' then
    v_count := jsonb_array_length(_valid_after.after);
  end if;
  if v_count is null
    or v_count > 1000
    or jsonb_path_exists(_valid_after.after, '$[*] ? (@ == null)')
  then
    raise exception '% is no array of at most 1000 runs: %', prefix || 'after',
        left(_valid_after.after::text, 200)
      using errcode = '22023',
            hint = 'Give ids of runs; within enqueue_many also places of elements before, from 0; '
                   'to children also edges of their parent.';
  elsif v_count = 0 then
    if num_nonnulls(mode, failure) > 0 then
      raise exception '% is given without after', prefix
          || case when mode is not null then 'after_mode' else 'after_failure' end
        using errcode = '22023',
              hint = 'Name in after the runs that have to end first.';
    end if;
    return null;
  elsif on_conflict = 'replace' then
    raise exception '% is given with on_conflict replace', prefix || 'after'
      using errcode = '22023',
            hint = 'A run that is queued cannot be made to wait for others: use return or raise.';
  end if;
  return coalesce(mode, 'all');
end;
$$;

comment on function tide._valid_after is
  'Which of the runs in after have to end first: all or any; null = after is empty, else 22023.';
