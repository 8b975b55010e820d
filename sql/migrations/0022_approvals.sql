-- Approvals that fit one question: columns of gates, votes. A short lock: columns without a rewrite, a
-- new table.
alter table tide.gates
add column origin_id uuid,
add column used_by uuid,
add column used_step text,
add column answer_schema jsonb,
add column quorum integer not null default 1,
add column assignees text[] not null default '{}',
add column not_requester boolean not null default false,
add column escalate_at timestamptz,
add column escalate_to text[] not null default '{}',
add column escalated_at timestamptz;
comment on column tide.gates.data is
  'What the decision is about. With the prompt it is the question: an approval fits no other.';
comment on column tide.gates.origin_id is
  'The gate that was decided, where a fork copied the decision; null = this one.';
comment on column tide.gates.used_by is
  'The run whose step the approval covered: it covers one step, however often it was copied.';
comment on column tide.gates.used_step is 'The step of used_by.';
comment on column tide.gates.answer_schema is
  'What the payload of an approval has to look like, a subset of JSON Schema; null = anything.';
comment on column tide.gates.quorum is 'How many different actors have to approve.';
comment on column tide.gates.assignees is
  'Who may decide: names of actors, or role:NAME for logins that are members; empty = everybody '
  'who may decide gates.';
comment on column tide.gates.not_requester is 'The login that enqueued the run may not decide.';
comment on column tide.gates.escalate_at is 'When those of escalate_to may decide too.';
comment on column tide.gates.escalated_at is 'When upkeep wrote the escalation down.';

create table tide.gate_votes (
  run_id uuid not null,
  gate_id uuid not null,
  actor text not null,
  login text not null default session_user,
  decision text not null,
  payload jsonb not null,
  comment text,
  created_at timestamptz not null,
  primary key (run_id, gate_id, actor),
  constraint gate_votes_decision_known check (
    decision in ('approved', 'rejected', 'canceled')
  )
);
comment on table tide.gate_votes is
  'Who decided what about a gate: one vote for each actor, until the quorum is reached.';
comment on column tide.gate_votes.login is 'The login that voted; the actor is what it said.';
