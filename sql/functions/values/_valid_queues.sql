create or replace function tide._valid_queues(queues text[])
returns text[]
language plpgsql
immutable
parallel safe
as $$
begin
  if cardinality(queues) between 1 and 1000
    and array_ndims(queues) = 1
    and array_position(queues, null) is null
  then
    return queues;
  end if;
  raise exception 'queues is not a list of names: %', coalesce(left(queues::text, 200), 'null')
    using errcode = '22023',
          hint = 'Name 1 to 1000 queues.';
end;
$$;

comment on function tide._valid_queues is 'The value, or 22023: 1 to 1000 names of queues.';
