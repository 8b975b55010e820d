create or replace function tide._version_options(
  label text,
  reason text,
  importance text,
  metadata jsonb,
  created_by text
)
returns tide.state_versions
language plpgsql
stable
as $$
declare
  v_version tide.state_versions;
begin
  v_version.label := tide._optional_text('label', _version_options.label, 256);
  v_version.reason := tide._valid_note('reason', _version_options.reason);
  v_version.importance := tide._valid_importance(_version_options.importance);
  v_version.metadata := coalesce(
    tide._valid_payload('metadata', _version_options.metadata), '{}'
  );
  v_version.created_by := tide._optional_text('created_by', _version_options.created_by, 256);
  return v_version;
end;
$$;

comment on function tide._version_options is 'What is said about a state version, or 22023.';
