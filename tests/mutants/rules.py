"""The rules that matter, each with a change that breaks it and the tests that must notice.

A mutant is one exact piece of a file, found there once, and what stands there instead. None is
trivial: each leaves a schema that installs and a package that imports.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """A rule in words, and how it is broken."""

    rule: str
    file: str
    old: str
    new: str
    killed_by: tuple[str, ...]

    def applied_to(self, text: str) -> str:
        """The text of the file without the rule. Raises ValueError unless it is there once."""
        if (found := text.count(self.old)) != 1:
            raise ValueError(f"{self.file} has {found} times what “{self.rule}” changes")
        return text.replace(self.old, self.new)


def sql(rule: str, function: str, old: str, new: str, *killed_by: str) -> Mutant:
    return Mutant(
        rule,
        f"sql/functions/{function}.sql",
        old,
        new,
        tuple(f"tests/{test}" for test in killed_by),
    )


def python(rule: str, module: str, old: str, new: str, *killed_by: str) -> Mutant:
    return Mutant(
        rule, f"tidebase_pg/{module}.py", old, new, tuple(f"tests/{test}" for test in killed_by)
    )


FENCE = [
    sql(
        "a report under another lease is refused",
        "runs/_hold",
        "if v_run.lease_id = _hold.lease_id\n",
        "if v_run.lease_id is not null\n",
        "runs/test_fence.py::test_expired_lease_that_was_claimed_by_another_can_write_nothing",
    ),
    sql(
        "a repetition is one of the same report",
        "runs/_hold",
        "v_run.ended_by = _hold.repeated)",
        "v_run.ended_by is not null)",
        "runs/test_complete.py::test_completed_run_cannot_be_failed_or_released_by_its_own_lease",
    ),
    sql(
        "who writes on a run locks its row",
        "runs/_hold",
        "    for no key update\n",
        "",
        "races/test_zombie_schedules.py::test_a_write_beside_an_open_claim_waits_and_is_refused",
    ),
    sql(
        "a throttled lane gives nothing",
        "lanes/_shut_out",
        "where l.throttled_until > v_now\n      or ",
        "where ",
        "lanes/test_throttle.py::"
        "test_a_throttled_lane_gives_nothing_before_its_time_and_then_all_in_order",
    ),
    sql(
        "a bin of charges counts until its newest does not",
        "lanes/_fold_charges",
        "max(e.charged_at) as charged_at",
        "min(e.charged_at) as charged_at",
        "lanes/test_units.py::"
        "test_folded_charges_count_until_the_newest_of_their_bin_is_a_period_old",
    ),
    sql(
        "only settled charges are folded",
        "lanes/_fold_charges",
        "not o.open or o.charged_at <= v_since",
        "true",
        "lanes/test_units.py::"
        "test_a_charge_that_is_settled_after_others_were_folded_gives_back_the_rest",
    ),
    sql(
        "nobody of a throttled lane is woken before its time",
        "lanes/_wake_line",
        "  if lane.throttled_until > tide._now()\n    or ",
        "  if ",
        "lanes/test_throttle.py::"
        "test_runs_that_end_or_change_their_limits_wake_nobody_of_a_throttled_lane",
    ),
    sql(
        "one run of an open lane probes at a time",
        "lanes/_may_probe",
        "r.status = 'running'",
        "false",
        "lanes/test_breaker.py::test_after_failures_in_a_row_nothing_is_claimed_before_a_probe_and_"
        "then_all_in_order",
    ),
    sql(
        "a success ends the failures in a row of its lane",
        "lanes/_free_places",
        "if completed and v_line.breaks then",
        "if false then",
        "lanes/test_breaker.py::test_a_success_between_failures_begins_the_count_again",
    ),
    sql(
        "no run but the probe closes an open lane",
        "lanes/_note_success",
        "(l.opened_at is null or l.probe_id = any (_note_success.run_ids))",
        "true",
        "lanes/test_breaker.py::test_only_the_success_of_the_probe_closes_a_lane",
    ),
    sql(
        "what fails in an open lane keeps its attempt",
        "lanes/_park_at_provider",
        "counted => false",
        "counted => true",
        "lanes/test_breaker.py::"
        "test_each_failed_probe_doubles_the_delay_up_to_the_longest_and_costs_no_attempt",
    ),
    sql(
        "failures of a lane are counted one at a time",
        "lanes/_note_failure",
        "    where l.lane = run.lane\n    for no key update\n",
        "    where l.lane = run.lane\n",
        "races/test_breaker_schedules.py::test_of_two_failures_at_once_the_second_opens_the_lane",
    ),
    sql(
        "reports lock lanes in one order",
        "lanes/_lock_lanes",
        "  order by l.lane\n  for no key update;",
        "  limit 0;",
        "races/test_breaker_schedules.py::test_calls_that_fail_runs_of_two_lanes_wait_in_no_circle",
    ),
    sql(
        "among those that wait for units a run of a fair lane stands with its turn",
        "lanes/_waits_before",
        "run.turn_at is not null",
        "false",
        "lanes/test_units.py::test_of_a_fair_lane_runs_of_any_priority_get_units_at_their_turns",
    ),
    sql(
        "a failure locks the lanes of its run in the order of their names",
        "lanes/_in_lanes",
        "order by (n.run).lane",
        "order by (n.run).lane_slot is null",
        "races/test_lane_schedules.py::"
        "test_failures_of_two_lanes_in_opposite_order_lock_the_lanes_by_name",
    ),
    sql(
        "a run that runs without a place in a further lane counts for a new limit",
        "lanes/_count_held",
        "and o.lane_key_slot is null",
        "and false",
        "lanes/test_several.py::test_runs_claimed_without_a_limit_count_for_a_new_one",
    ),
    sql(
        "what a run has in a further lane but does not start is given back",
        "queues/_reserve",
        "tide._return_more_lanes(v_admitted[cardinality(v_reserved.run_ids) + 1:])",
        "tide._return_more_lanes('{}')",
        "lanes/test_several.py::"
        "test_a_run_another_claim_leaves_no_slot_for_holds_nothing_in_any_lane",
    ),
    sql(
        "a step does not pass a run that waits in its lane",
        "lanes/_take_step_lane",
        "where w.lane = _take_step_lane.lane\n",
        "where w.lane = ''\n",
        "races/test_lane_schedules.py::"
        "test_a_step_does_not_pass_one_that_was_parked_beside_the_end_that_frees_its_place",
    ),
    sql(
        "a run is not parked for a step while others of it are under way",
        "lanes/_take_step_lane",
        "s.name <> _take_step_lane.step",
        "false",
        "lanes/test_step_lanes.py::test_a_step_beside_others_of_its_run_waits_and_parks_nothing",
    ),
    sql(
        "a completed step gives its place in a lane back",
        "steps/complete_step",
        "if v_run.lane is not null then",
        "if false then",
        "lanes/test_step_lanes.py::test_a_step_holds_a_place_in_its_lane_until_it_completes",
    ),
    sql(
        "the next run probes after one that failed",
        "lanes/_wake_probe",
        "order by w.later desc, w.lane_key",
        "order by w.lane_key",
        "lanes/test_breaker.py::test_a_run_that_fails_by_itself_keeps_no_lane_open",
    ),
    sql(
        "a report shortens no throttle",
        "lanes/_throttle_lane",
        "greatest(l.throttled_until, v_until)",
        "v_until",
        "lanes/test_adaptive.py::test_a_refusal_that_halves_the_limit_shortens_no_throttle",
    ),
    sql(
        "runs refused together halve a limit once",
        "lanes/_is_refusal",
        "(_is_refusal.lane).cut_at operator(pg_catalog.<) _is_refusal.claimed_at",
        "true",
        "lanes/test_adaptive.py::test_runs_refused_together_halve_the_limit_once",
    ),
    sql(
        "a limit is not halved below its least",
        "lanes/_throttle_lane",
        "coalesce(l.adaptive_min, 1)",
        "1",
        "lanes/test_adaptive.py::test_the_limit_is_never_halved_below_its_least",
    ),
    sql(
        "completed runs count for one step",
        "lanes/_raise_limit",
        "        and s.round = v_lane.adaptive_round\n",
        "",
        "lanes/test_adaptive.py::test_a_refusal_begins_the_round_again",
    ),
    sql(
        "a claim waits for no lane to raise its limit",
        "lanes/_raise_limit",
        "for no key update skip locked",
        "for no key update",
        "lanes/test_adaptive.py::test_neither_claims_nor_ends_wait_for_the_row_of_the_lane",
    ),
    sql(
        "a heartbeat renews the lease it names only",
        "runs/heartbeat",
        "and r.lease_id = b.lease_id\n        -- As in",
        "-- As in",
        "runs/test_heartbeat.py::test_lost_lease_is_never_revived",
    ),
    sql(
        "a heartbeat waits for nobody",
        "runs/heartbeat",
        "for no key update skip locked",
        "for no key update",
        "races/test_lease_schedules.py::test_a_stranger_costs_a_worker_no_lease",
    ),
    sql(
        "a heartbeat revives no run past its deadline",
        "runs/heartbeat",
        "  if v_overdue is not null then\n",
        "  if false then\n",
        "runs/test_heartbeat.py::test_overdue_run_is_cancelled_and_the_worker_told",
    ),
    sql(
        "an outcome with the lease of another run settles nothing",
        "queues/_settle",
        "          select r.lease_id\n",
        "          select v_lease_ids[array_position(v_run_ids, r.run_id)]\n",
        "queues/test_settle.py::test_a_completion_counts_for_no_other_run_of_the_same_call",
    ),
    sql(
        "an outcome of another lease locks nothing",
        "queues/_settle",
        "            and r.lease_id = any (v_lease_ids)\n",
        "",
        "queues/test_settle.py::test_a_completion_of_another_lease_locks_nothing",
    ),
    sql(
        "a failure of another lease settles nothing",
        "queues/_settle_others",
        "        and r.lease_id = o.lease_id\n",
        "",
        "queues/test_settle.py::test_one_bad_outcome_does_not_spoil_the_rest",
    ),
    sql(
        "the lease of an attempt nobody reported on is forgotten",
        "runs/_requeue",
        "case when _requeue.ended_by is not null then r.lease_id end",
        "r.lease_id",
        "steps/test_resolve_step.py::test_report_of_the_attempt_before_the_review_is_no_repetition_of_its_end",
    ),
    sql(
        "a late report on a run failed by upkeep is no repetition",
        "runs/_expire_leases",
        "      set lease_id = gen_random_uuid()\n",
        "      set lease_id = r.lease_id\n",
        "runs/test_fence.py::test_expired_last_attempt_cannot_be_reported_as_failed",
    ),
    sql(
        "a step is reported on in the attempt that began it",
        "steps/_held_step",
        "v_step.lease_id is distinct from run.lease_id",
        "false",
        "steps/test_complete_step.py::test_step_of_an_earlier_attempt_cannot_be_completed_unbegun",
    ),
    sql(
        "of many reports those on steps of another attempt are judged one by one",
        "steps/report_steps",
        "when s.lease_id is distinct from r.lease_id then 'single'",
        "when false then 'single'",
        "steps/test_report_steps.py::test_reports_together_are_what_they_are_one_by_one",
    ),
    sql(
        "of many reports those with another input are judged one by one",
        "steps/report_steps",
        "when x.begin and s.input_hash <> g.input_hash then 'single'",
        "when false then 'single'",
        "steps/test_report_steps.py::test_what_is_refused_comes_back_undone_and_stops_no_other",
    ),
    sql(
        "of many reports those past a deadline are judged one by one",
        "steps/report_steps",
        "              r.deadline_at <= v_now\n",
        "              false\n",
        "steps/test_report_steps.py::test_a_begin_past_the_deadline_is_told_to_ask_by_itself_and_refused",
    ),
    sql(
        "a dispatcher whose lease is lost decides nothing",
        "webhooks/finish_delivery",
        "elsif v_delivery.lease_id = finish_delivery.lease_id then",
        "elsif v_delivery.lease_id is not null then",
        "webhooks/test_deliveries.py::test_report_on_a_lost_lease_is_refused",
    ),
]

LOCKS = [
    sql(
        "runs are picked under a lock, above a floor's priority",
        "queues/_pick_ready",
        """      limit _pick_ready.max_runs - coalesce(cardinality(v_picked.run_ids), 0)
      for no key update skip locked
""",
        """      limit _pick_ready.max_runs - coalesce(cardinality(v_picked.run_ids), 0)
""",
        "races/test_claim_storms.py::test_claims_at_once_share_the_runs_among_them",
    ),
    sql(
        "a settlement passes over what another transaction holds",
        "queues/_settle_others",
        "for no key update skip locked",
        "for no key update",
        "races/test_settle_schedules.py::test_a_held_run_is_busy_and_the_others_of_its_report_are_settled",
    ),
    sql(
        "a report of steps passes over what another transaction holds",
        "steps/report_steps",
        "for no key update skip locked",
        "for no key update",
        "races/test_report_schedules.py::test_reports_pass_over_a_run_that_somebody_ends_and_are_judged_after_it",
    ),
    sql(
        "the parent that is woken is not waited for",
        "children/_wake_parent",
        "for no key update skip locked",
        "for no key update",
        "races/test_children_schedules.py::test_two_last_children_that_do_not_see_each_other_wake_the_parent_by_upkeep",
    ),
    sql(
        "edges are marked in the order in which children end",
        "children/await_children",
        "  order by e.child_id\n  for no key update;",
        "  order by e.child_id desc\n  for no key update;",
        "races/test_children_schedules.py::test_children_that_end_together_beside_the_wait_for_them_do_not_deadlock",
    ),
    sql(
        "one upkeep works at a time",
        "upkeep/_take_turn",
        "  return found;",
        "  return true;",
        "races/test_upkeep_schedules.py::test_a_second_reconcile_leaves_at_once",
    ),
    sql(
        "a gate is decided by one who holds its run",
        "gates/_resolve",
        "    for no key update\n",
        "",
        "races/test_gate_schedules.py::test_the_first_of_two_resolvers_decides_and_the_second_is_told",
    ),
    sql(
        "whoever spends a budget is alone with it",
        "usage/_lock_budgets",
        "    for no key update;\n",
        "    ;\n",
        "races/test_budget_schedules.py::test_of_two_that_begin_at_once_one_takes_the_last_step_of_their_budget",
    ),
]

UNIQUE = [
    sql(
        "a run met by its key or its id is not inserted again",
        "queues/_enqueue",
        "run.dedupe_key is null and run.given_id is not true",
        "run.given_id is not true",
        "races/test_dedupe_schedules.py::test_an_enqueue_waits_for_the_other_insert_and_takes_its_fate",
    ),
    sql(
        "an active key is looked for in its own queue",
        "queues/_enqueue",
        "where r.queue = run.queue\n          and r.dedupe_key = run.dedupe_key",
        "where r.dedupe_key = run.dedupe_key",
        "queues/test_enqueue.py::test_dedupe_key_belongs_to_its_queue",
    ),
    sql(
        "an id that was given makes one run, also when that has ended",
        "runs/_insert_runs",
        "    if cardinality(v_ended) > 0 then\n",
        "    if false then\n",
        "queues/test_enqueue.py::test_same_run_id_again_answers_with_the_run_it_made",
    ),
    sql(
        "an id belongs to one workflow and input",
        "runs/_repeats_run",
        "v_earlier.input is distinct from coalesce(_repeats_run.input, '{}')",
        "false",
        "queues/test_enqueue.py::test_same_run_id_for_another_input_or_workflow_is_refused",
    ),
    sql(
        "a run that has begun is not replaced",
        "queues/_enqueue_again",
        "      or v_run.started_at is not null\n",
        "",
        "queues/test_enqueue.py::test_replace_leaves_a_run_that_has_begun_its_input",
    ),
    sql(
        "a retry gives way to another run with its key",
        "runs/_retry",
        "array[v_new], free => false)) = 0",
        "array[v_new], free => false)) < 0",
        "runs/test_retry.py::test_retry_is_refused_while_its_dedupe_key_is_taken",
    ),
    sql(
        "one usage is recorded for a request key",
        "usage/_write_usage",
        "  on conflict do nothing\n  returning u.* into v_usage;\n  if not found then",
        "  returning u.* into v_usage;\n  if not found then",
        "usage/test_record_usage.py::test_same_request_key_counts_once",
    ),
    sql(
        "a batch names a run once",
        "queues/_parse_outcomes",
        "having count(*) > 1",
        "having count(*) > 2",
        "queues/test_settle.py::test_run_named_twice_is_refused",
    ),
]

GRANTS = [
    sql(
        "a queue of others takes no runs of this login",
        "queues/_may_use",
        "_may_use.verb = any (g.verbs)",
        "true",
        "roles/test_queue_grants.py::test_each_act_needs_its_verb",
    ),
    sql(
        "a grant is for members of its role",
        "queues/_may_use",
        "      and pg_has_role(session_user, r.oid, 'member')\n",
        "",
        "roles/test_queue_grants.py::test_a_stranger_is_refused_and_a_member_is_not",
    ),
    sql(
        "a run of a closed queue is of others",
        "runs/_require_run",
        "(v_queue is null or tide._may_use(v_queue, _require_run.verb))",
        "true",
        "roles/test_queue_grants.py::test_a_stranger_is_refused_and_a_member_is_not",
    ),
    sql(
        "who may not see a run learns not whether it is there",
        "runs/_require_run",
        "  elsif not found and tide._closed_queues(_require_run.verb) = '{}' then",
        "  elsif not found then",
        "roles/test_queue_grants.py::test_a_stranger_cannot_tell_a_run_of_the_queue_from_none",
    ),
    sql(
        "a claim asks for a grant on each of its queues",
        "queues/_guard",
        "  if v_restricted then\n",
        "  if false then\n",
        "roles/test_queue_grants.py::test_a_stranger_is_refused_and_a_member_is_not",
    ),
    sql(
        "a child goes to queues its parent's worker may enqueue to",
        "children/_add_children",
        "    perform tide._require_queue(_add_children.queue, 'enqueue');\n",
        "",
        "roles/test_queue_grants.py::test_a_stranger_is_refused_and_a_member_is_not",
    ),
    sql(
        "a bystander spends no budget of a closed queue",
        "usage/_require_spender",
        "      and not tide._may_use(r.queue)\n",
        "      and false\n",
        "roles/test_bystanders.py::test_a_bystander_spends_no_budget_of_a_queue_closed_to_it",
    ),
    sql(
        "who does not hold a run learns nothing of it by a report",
        "runs/_hold",
        "  perform tide._require_run(_hold.run_id);\n  if v_run.status = 'cancelled'",
        "  if v_run.status = 'cancelled'",
        "roles/test_queue_grants.py::test_a_stranger_cannot_tell_a_run_of_the_queue_from_none",
    ),
    sql(
        "a verdict on a run of a closed queue is that it is missing",
        "queues/_judge",
        "v_run.run_id is null or not tide._may_use(v_run.queue)",
        "v_run.run_id is null",
        "roles/test_queue_grants.py::test_a_stranger_cannot_tell_a_run_of_the_queue_from_none",
    ),
    sql(
        "a revoked key opens nothing",
        "keys/authenticate_key",
        "\n      and k.revoked_at is null\n",
        "\n",
        "keys/test_keys.py::test_a_revoked_key_opens_nothing_from_its_commit_on",
    ),
    sql(
        "a cancellation of many leaves closed queues alone",
        "runs/cancel_many",
        "(r.queue is null or r.queue <> all (v_closed))",
        "true",
        "roles/test_queue_grants.py::test_what_is_asked_for_all_queues_leaves_restricted_ones_out",
    ),
    sql(
        "a redrive leaves closed queues alone",
        "runs/redrive",
        "          and (r.queue is null or r.queue <> all (v_closed))\n        for update",
        "        for update",
        "roles/test_queue_grants.py::test_who_may_only_claim_from_a_queue_retries_nothing_of_it",
    ),
    sql(
        "an end waits for an enqueue that names its run",
        "runs/_add_predecessors",
        "  set followed = true\n",
        "  set followed = null\n",
        "queues/test_after.py::test_a_run_is_ready_in_the_transaction_in_which_the_last_before_it_ends",
    ),
    sql(
        "an insert looks once more whether a finished run holds its key",
        "runs/_insert_runs",
        "    if v_keyed then\n",
        "    if false then\n",
        "races/test_dedupe_schedules.py::test_a_run_made_and_ended_meanwhile_holds_its_key_"
        "against_an_enqueue_that_waited",
    ),
    sql(
        "retention leaves runs whose keys are taken",
        "upkeep/_prune",
        "              and h.until > v_now\n",
        "              and false\n",
        "queues/test_dedupe_for.py::test_retention_removes_no_run_whose_key_is_taken",
    ),
    sql(
        "runs that ended in no attempt have no times",
        "upkeep/_count_finished",
        "r.run_at <= r.started_at\n              then",
        "r.started_at is not null\n              then",
        "queues/test_run_times.py::test_runs_that_end_in_no_attempt_are_not_counted",
    ),
    sql(
        "hours that are forgotten stay counted",
        "upkeep/_forget_time_bins",
        "      sum(g.runs),\n",
        "      0,\n",
        "queues/test_run_times.py::test_counts_for_scrapers_never_shrink_while_hours_are_forgotten",
    ),
    sql(
        "ends that do not see each other are looked at again",
        "runs/_predecessors_ended",
        "noticed = p.run_id = any (v_locked)",
        "noticed = true",
        "races/test_after_schedules.py::test_two_ends_at_the_same_instant_leave_it_to_upkeep",
    ),
    sql(
        "an element comes only after those before it",
        "queues/_add_batch_predecessors",
        "where f.place >= v_places[e.ordinal]",
        "where false",
        "queues/test_after.py::test_what_an_element_cannot_come_after_is_named_and_nothing_is_written",
    ),
    sql(
        "usage that is charged to a budget is settled alone",
        "queues/_settle_others",
        "o.used is not null and h.budgeted and not v_alone as single",
        "false as single",
        "lanes/test_units.py::test_usage_that_is_charged_to_a_budget_is_settled_alone",
    ),
    sql(
        "an attempt that fails is settled with what its failure says it used",
        "runs/fail",
        "      v_run := tide._use_up(v_run, v_used);\n",
        "      perform tide._use_up(v_run, v_used);\n",
        "lanes/test_units.py::test_an_end_that_says_what_was_used_settles_it_once",
    ),
    sql(
        "a child comes only after those before it",
        "children/_let_children_follow",
        "where m.place >= v_places[e.ordinal]",
        "where false",
        "children/test_siblings.py::test_what_a_child_cannot_come_after_is_named_and_nothing_is_written",
    ),
    sql(
        "no child comes after what may wait for its parent",
        "children/_let_children_follow",
        "      where v_followed\n",
        "      where false\n",
        "children/test_siblings.py::test_no_child_comes_after_what_may_wait_for_its_parent_or_an_"
        "ancestor",
    ),
    sql(
        "what a child comes after is in its first event",
        "children/_add_children",
        "  where (v_runs[u.ordinal]).after_mode is null\n  having",
        "  having",
        "children/test_siblings.py::test_children_of_one_call_come_after_each_other_by_edge",
    ),
    sql(
        "a spawn locks whom its children come after with the parent, in one order",
        "children/_lock_named",
        "  order by r.run_id\n  for no key update;\n",
        "  limit 0;\n",
        "races/test_after_schedules.py::test_a_spawn_locks_its_parent_and_whom_its_child_comes_after_"
        "in_one_order",
    ),
    sql(
        "a redrive retries nothing that failed after it began",
        "runs/redrive",
        "and r.finished_at <= v_place.failed_until\n          and (r.queue is null or r.queue <> "
        "all (v_closed))\n        for update",
        "and (r.queue is null or r.queue <> all (v_closed))\n        for update",
        "runs/test_redrive.py::test_no_run_is_retried_twice_by_a_call_that_is_sent_again",
    ),
]

APPROVALS = [
    sql(
        "a fork brings no decision of who requests it",
        "runs/_copy_decisions",
        "      when g.not_requester then\n",
        "      when false then\n",
        "gates/test_deciding_keys.py::"
        "test_a_fork_keeps_no_decision_of_who_forked_where_requesters_do_not_decide",
    ),
    sql(
        "an approval covers the input it showed",
        "gates/_consume_approval",
        "when v_gate.data is distinct from coalesce(input, '{}') then",
        "when false then",
        "gates/test_questions.py::test_an_approval_covers_no_other_input",
    ),
    sql(
        "an approval covers one step",
        "gates/_consume_approval",
        "        g.used_step is null\n",
        "        true\n",
        "gates/test_questions.py::test_an_approval_covers_one_step",
    ),
    sql(
        "what is not approved covers nothing",
        "gates/_consume_approval",
        "    when v_gate.status <> 'approved' then format('it is %s', v_gate.status)\n",
        "",
        "gates/test_questions.py::test_only_an_approval_covers_a_step",
    ),
    sql(
        "an approval is one of the run itself",
        "gates/_consume_approval",
        "\n      and g.run_id = run.run_id\n",
        "\n",
        "gates/test_questions.py::test_the_gate_of_another_run_covers_nothing",
    ),
    sql(
        "a copied decision shares its one use with its original",
        "gates/_consume_approval",
        "coalesce(v_gate.origin_id, v_gate.gate_id)",
        "v_gate.gate_id",
        "gates/test_questions.py::test_of_an_original_and_its_forks_one_uses_the_approval",
    ),
    sql(
        "a decision fits one question",
        "gates/_find_asking",
        " and v_gate.data = _find_asking.data then",
        " then",
        "gates/test_questions.py::test_another_question_under_the_name_gets_no_answer",
    ),
    sql(
        "the first decision stands",
        "gates/_resolve",
        "      is distinct from (v_decision, v_actor, v_payload)\n",
        "      is distinct from (v_gate.status, v_actor, v_payload)\n",
        "gates/test_resolve_gate.py::test_second_decision_is_refused_with_the_first",
    ),
    sql(
        "a login decides under its own name",
        "gates/_require_decider",
        "when actor <> coalesce(key.name, session_user) and not for_others",
        "when false",
        "gates/test_rules.py::test_a_login_votes_once_whatever_name_it_gives",
    ),
    sql(
        "who requested a run does not decide",
        "gates/_require_decider",
        "    when gate.not_requester and run.requested_by in (\n",
        "    when false and run.requested_by in (\n",
        "gates/test_rules.py::test_who_requested_does_not_decide_where_the_gate_says_so",
    ),
    sql(
        "a gate assigned to others is theirs",
        "gates/_require_decider",
        "and not tide._is_assigned(gate.assignees, actor)\n",
        "and false\n",
        "gates/test_rules.py::test_assignees_decide_and_nobody_else",
    ),
    sql(
        "a gate opens with its own token",
        "gates/resolve_gate",
        "  if v_hash is distinct from v_gate.token_hash\n",
        "  if false\n",
        "gates/test_resolve_gate.py::test_wrong_token_is_refused_and_nothing_changes",
    ),
]

LIMITS = [
    sql(
        "an exhausted budget parks the run before its next step",
        "usage/_short_budget",
        "where u.spent + u.reserved >= u.most",
        "where u.spent + u.reserved > u.most",
        "usage/test_budget.py::test_step_beyond_the_budget_parks_the_run",
    ),
    sql(
        "a budget counts tokens",
        "usage/_short_budget",
        "coalesce(v_spent.tokens, 0),\n          coalesce",
        "coalesce(v_spent.steps, 0),\n          coalesce",
        "usage/test_budget.py::test_tokens_and_cost_count_as_well",
    ),
    sql(
        "children spend the budgets of their parents",
        "usage/_budgets",
        "      v_budgets := v_budgets || v_budget;\n",
        "      exit;\n",
        "usage/test_budget.py::test_children_charge_their_ancestors",
    ),
    sql(
        "what is spent adds up",
        "usage/_spend",
        "tokens = s.tokens + excluded.tokens",
        "tokens = excluded.tokens",
        "usage/test_budget.py::test_budget_a_queue_gets_later_counts_what_was_spent_before",
    ),
    sql(
        "too little left of an allowance lets no step begin",
        "usage/_take_all",
        "v_free < _take_all.asked",
        "v_free < 0",
        "usage/test_allowances.py::test_too_little_left_parks_naming_scope_unit_left_and_asked",
    ),
    sql(
        "a step reserves in all allowances or in none",
        "usage/_reserve_allowances",
        "      from unnest(v_taken) as t;\n      v_wait",
        "      from unnest(v_taken) as t where false;\n      v_wait",
        "usage/test_allowances.py::test_all_scopes_are_reserved_or_none",
    ),
    sql(
        "what a step uses comes out of what it has reserved",
        "usage/_use_reserved",
        "  if found then\n    return v_used;\n",
        "  if found then\n    v_used.amount := 0;\n    return v_used;\n",
        "usage/test_allowances.py::test_an_overrun_is_in_the_ledger_and_nothing_more_starts",
    ),
    sql(
        "the parts of an allowance are added up by who has locked them all",
        "usage/_open_purses",
        "  order by p.purse\n  for no key update;",
        "  order by p.purse;",
        "races/test_allowance_storm.py::"
        "test_no_interleaving_and_no_kill_overspends_an_allowance_or_strands_an_amount",
    ),
    sql(
        "a step that may have happened keeps what it has reserved",
        "usage/_release_lost",
        "      and s.replay = 'auto'\n",
        "",
        "usage/test_allowances.py::test_a_lost_attempt_gives_back_unless_its_step_may_have_happened",
    ),
    sql(
        "a run that ends gives back what it has reserved",
        "runs/_finish_rest",
        "    perform tide._end_budgets(v_budgeted);\n",
        "    null;\n",
        "usage/test_allowances.py::test_a_run_that_ends_gives_back_what_it_has_reserved",
    ),
    sql(
        "a claim under a cap holds a slot",
        "queues/_lease",
        " slot = reserved.slots[array_position(reserved.run_ids, r.run_id)]",
        " slot = null",
        "queues/test_caps.py::test_batch_stops_at_the_cap",
    ),
    sql(
        "runs without a slot count under a cap",
        "queues/_reserve",
        "    v_unslotted := tide._count_unslotted(settings);\n",
        "    v_unslotted := 0;\n",
        "queues/test_caps.py::test_cap_set_while_runs_run_counts_them",
    ),
    sql(
        "slots above a lowered cap are not given out",
        "queues/_reserve",
        "        and s.slot <= settings.concurrency\n",
        "",
        "queues/test_caps.py::test_a_claim_beside_another_takes_no_slot_above_a_lowered_cap",
    ),
    sql(
        "an end frees its slot",
        "runs/_finish_rest",
        "    set run_id = null\n",
        "    set run_id = s.run_id\n",
        "queues/test_caps.py::test_every_end_of_an_attempt_frees_its_slot",
    ),
    sql(
        "a requeued run frees its slot",
        "runs/_requeue",
        "    set run_id = null\n",
        "    set run_id = s.run_id\n",
        "queues/test_caps.py::test_every_end_of_an_attempt_frees_its_slot",
    ),
    sql(
        "a permit comes back after the period of its rate",
        "queues/_use_reservation",
        "tide._now() + (reserved.settings).rate_period",
        "tide._now()",
        "queues/test_rates.py::test_no_more_starts_than_the_limit_until_the_period_is_over",
    ),
    sql(
        "a rate takes permits that are there already",
        "queues/_reserve",
        "        and p.available_at <= v_now\n",
        "",
        "queues/test_rates.py::test_claimers_at_once_never_pass_the_rate",
    ),
    sql(
        "of a queue with limits nothing is claimed ahead",
        "queues/_reserve",
        "tide._capacity(settings, v_capacity, v_unslotted)",
        "tide._capacity(settings, v_capacity + ahead, v_unslotted)",
        "queues/test_settle_and_claim.py"
        "::test_only_where_nothing_limits_runs_more_are_claimed_than_there_are_slots",
    ),
    sql(
        "of a lane nothing is claimed ahead",
        "queues/_reserve",
        "    v_capacity := greatest(max_runs, 0);\n    if",
        "    if",
        "queues/test_settle_and_claim.py"
        "::test_only_where_nothing_limits_runs_more_are_claimed_than_there_are_slots",
    ),
    sql(
        "an endpoint is sent four deliveries at once",
        "webhooks/_endpoint_room",
        "return 4 - v_sending;",
        "return 5 - v_sending;",
        "webhooks/test_deliveries.py::test_gone_does_not_count_against_the_host",
    ),
    sql(
        "a delivery has so many attempts",
        "webhooks/claim_deliveries",
        "v_delivery.attempts >= v_delivery.max_attempts",
        "v_delivery.attempts > v_delivery.max_attempts",
        "webhooks/test_deliveries.py::test_delivery_whose_attempts_are_never_reported_is_dead_after_the_last",
    ),
    sql(
        "a paused queue gives nothing out",
        "queues/_reserve",
        "if settings.paused or ",
        "if ",
        "queues/test_claim.py::test_paused_queue_is_passed_over",
    ),
]

TIME = [
    sql(
        "a time of a schedule is fired once",
        "schedules/_fire",
        "  if not found then\n    return null;\n  end if;\n",
        "",
        "schedules/test_schedules.py::test_time_fires_once_even_after_its_run_has_ended",
    ),
    sql(
        "a schedule goes on from the time it fired",
        "schedules/_fire_schedules",
        "tide._next_fire(s.timing, coalesce(v_fire, v_now), s.time_zone)",
        "tide._next_fire(s.timing, v_now, s.time_zone)",
        "schedules/test_schedules.py::test_all_late_fires_are_made_up_for",
    ),
    sql(
        "a schedule that skips overlaps enqueues nothing beside its last run",
        "schedules/_fire",
        "schedule.overlap = 'skip' and tide._is_active(schedule)",
        "false",
        "schedules/test_schedules.py::test_fire_beside_an_active_run_is_passed_over_when_asked",
    ),
    sql(
        "what was missed by more than a minute is skipped",
        "schedules/_due_fire",
        "v_last > _due_fire.now - interval '1 minute'",
        "v_last > _due_fire.now - interval '1 hour'",
        "schedules/test_schedules.py::test_late_fires_are_skipped_but_not_one_that_is_due_this_minute",
    ),
    sql(
        "the delay doubles with each attempt",
        "runs/_backoff",
        "power(2, least(greatest(run.attempt - 1, 0), 20))",
        "power(2, least(greatest(run.attempt, 0), 20))",
        "runs/test_backoff.py::test_defaults_double_from_five_seconds_to_five_minutes",
    ),
    sql(
        "a delay has a longest length",
        "runs/_backoff",
        "least(v_max, v_base * power(2, least(greatest(run.attempt - 1, 0), 20)))",
        "(v_base * power(2, least(greatest(run.attempt - 1, 0), 20)))",
        "runs/test_backoff.py::test_defaults_double_from_five_seconds_to_five_minutes",
    ),
    sql(
        "a run has so many attempts",
        "runs/_fail",
        "run.attempt < run.max_attempts",
        "run.attempt <= run.max_attempts",
        "runs/test_fail.py::test_last_attempt_fails_with_max_retries",
    ),
    sql(
        "a lease that ran out is the last attempt of some",
        "runs/_expire_leases",
        "v_run.attempt < v_run.max_attempts",
        "v_run.attempt <= v_run.max_attempts",
        "upkeep/test_reconcile.py::test_expired_last_attempt_fails_with_max_retries",
    ),
    sql(
        "a released attempt is not counted",
        "runs/_release",
        "counted => false",
        "counted => true",
        "runs/test_release.py::test_released_attempt_is_not_counted",
    ),
    sql(
        "nothing begins after its deadline",
        "runs/_refuse_overdue",
        "if run.deadline_at <= tide._now() then",
        "if run.deadline_at < tide._now() - interval '1 day' then",
        "steps/test_begin_step.py::test_overdue_run_begins_no_step",
    ),
    sql(
        "a completion after the deadline is a cancellation",
        "queues/_settle",
        "and (r.deadline_at is null or r.deadline_at > v_now)",
        "",
        "queues/test_settle.py::test_a_completion_past_its_deadline_does_not_spoil_the_rest",
    ),
]

HISTORY = [
    sql(
        "an end has the next number",
        "runs/_finish",
        "    r.last_seq + 1,\n    case when",
        "    r.last_seq + 2,\n    case when",
        "runs/test_cancel.py::test_any_active_run_is_cancelled_at_once",
    ),
    sql(
        "each event of a run has the next number",
        "events/_log",
        "    set last_seq = r.last_seq + 1\n",
        "    set last_seq = r.last_seq + 2\n",
        "usage/test_record_usage.py::test_usage_is_recorded_in_any_state_of_the_run",
    ),
    sql(
        "events of a batch of children are numbered one by one",
        "children/_add_children",
        "generate_series(v_last_seq - v_count + 1, v_last_seq)",
        "generate_series(v_last_seq - v_count, v_last_seq - 1)",
        "children/test_spawn.py::test_many_children_in_one_call",
    ),
    sql(
        "steps reported together are numbered in their order",
        "steps/report_steps",
        "        + count(*) filter (where w.ends) over earlier\n",
        "        + count(*) filter (where w.ends) over earlier + 1\n",
        "steps/test_report_steps.py::test_a_completion_is_stored_and_says_nothing",
    ),
    sql(
        "a version of a state is written once",
        "state/_write_state",
        "expected_version is distinct from coalesce(v_current, 0) and",
        "expected_version < coalesce(v_current, 0) and",
        "state/test_set_state.py::test_expected_version_lets_one_of_two_writers_win",
    ),
]

STEPS = [
    sql(
        "what may have happened and may not happen twice is reviewed",
        "steps/_step_decision",
        "when _step_decision.replay operator(pg_catalog.=) 'manual' then 'review'",
        "when _step_decision.replay operator(pg_catalog.=) 'manual' then 'execute'",
        "steps/test_replay_contract.py::test_worker_died_inside_manual_parks_for_review",
    ),
    sql(
        "a completed step is replayed",
        "steps/_step_decision",
        "when _step_decision.status operator(pg_catalog.=) 'completed' then 'replay'",
        "when _step_decision.status operator(pg_catalog.=) 'completed' then 'execute'",
        "steps/test_begin_step.py::test_completed_step_replays_its_output_in_this_and_later_attempts",
    ),
    sql(
        "a step has one input",
        "steps/begin_step",
        "if v_step.input_hash <> v_hash then",
        "if v_step.input_hash <> v_hash and v_step.status = 'running' then",
        "steps/test_begin_step.py::test_another_input_is_refused_with_both_hashes",
    ),
    sql(
        "side effects without a key are reviewed",
        "steps/_parse_contract",
        "when array['read'] @> v_step.side_effects and not approved then 'auto'",
        "when not approved then 'auto'",
        "steps/test_replay_contract.py::test_replay_is_inferred_unless_given",
    ),
]

CANCELLATION = [
    sql(
        "children of a cancelled run are cancelled",
        "runs/_finish_rest",
        "if _finish_rest.status in ('cancelled', 'failed') then",
        "if _finish_rest.status = 'failed' then",
        "children/test_cancel_children.py::test_children_follow_with_the_next_upkeep",
    ),
    sql(
        "a detached child outlives its parent",
        "children/_cancel_children",
        """      and not e.detached
      and (not v_failed or r.started_at is null)
    order by""",
        """      and (not v_failed or r.started_at is null)
    order by""",
        "children/test_cancel_children.py::test_children_of_a_failed_parent_that_have_not_begun_are_cancelled",
    ),
    sql(
        "what a child of a failed parent has begun it ends",
        "children/_cancel_children",
        """      and (not v_failed or r.started_at is null)
    order by""",
        """    order by""",
        "children/test_cancel_children.py::test_children_of_a_failed_parent_that_have_not_begun_are_cancelled",
    ),
    sql(
        "gates of an ended run are closed",
        "runs/_finish_rest",
        "      status = 'canceled',\n",
        "      status = g.status,\n",
        "gates/test_ended_runs.py::test_cancel_closes_every_pending_gate",
    ),
    sql(
        "a parent waits for all it awaits",
        "children/_children_suffice",
        "  elsif mode = 'any' then",
        "  elsif mode <> 'fail_fast' then",
        "children/test_await_children.py::test_parent_parks_without_lease_slot_and_attempt_and_the_last_child_wakes_it",
    ),
    sql(
        "an event is heard once",
        "children/_hear",
        "  set heard_by = wait.name\n",
        "  set heard_by = s.heard_by\n",
        "children/test_await_event.py::test_events_of_one_name_are_heard_once_each_and_in_order",
    ),
]

PYTHON = [
    python(
        "a lease that could not be renewed in time is given up",
        "worker/active_run",
        "return now - self.renewed_at > self.lease\n",
        "return now - self.renewed_at > 10 * self.lease\n",
        "driver/test_active_run.py::test_a_lease_that_was_not_renewed_for_its_length_is_given_up",
    ),
    python(
        "an answer about an earlier lease is none about this one",
        "worker/active_run",
        "        if sent_at < self._since:\n            return\n",
        "",
        "driver/test_active_run.py::test_an_answer_about_an_earlier_lease_says_nothing_of_this_one",
    ),
    python(
        "a lease is renewed as of when it was asked for",
        "worker/active_run",
        "self.renewed_at = max(self.renewed_at, sent_at)",
        "self.renewed_at = time.monotonic()",
        "driver/test_active_run.py::test_a_lease_counts_from_when_its_renewal_was_sent",
    ),
    python(
        "a run whose lease may have ended begins nothing",
        "worker/active_run",
        "if self.stop is None and self.unrenewed(time.monotonic()):",
        "if self.stop is None and False:",
        "driver/test_active_run.py::test_a_run_whose_lease_may_have_ended_does_nothing_more",
    ),
    python(
        "what a heartbeat does not answer for is lost",
        "worker/active_run",
        'states.get(run.run_id, "lost")',
        'states.get(run.run_id, "held")',
        "driver/test_active_run.py::test_what_a_renewal_does_not_answer_for_is_lost",
    ),
    python(
        "the first reason of a stop stays",
        "worker/active_run",
        """        if self.stop is None:
            self.stop = stop
            on_stop""",
        """        if True:
            self.stop = stop
            on_stop""",
        "driver/test_active_run.py::test_why_a_run_stopped_first_stays",
    ),
    python(
        "branches a function left behind do nothing more",
        "worker/active_run",
        "        if self.ended:\n            self.refusals += 1\n",
        "        if False:\n            self.refusals += 1\n",
        "driver/test_active_run.py::test_what_a_function_left_behind_does_nothing_more",
    ),
    python(
        "leases are renewed three times in their length",
        "worker/renewal",
        "run.renewed_at + run.lease / 3",
        "run.renewed_at + run.lease * 3",
        "driver/test_active_run.py::test_a_lease_is_renewed_after_a_third_of_its_length",
    ),
    python(
        "one call with reports is under way at most",
        "worker/step_reporter",
        "leads = bool(self._batcher.waiting) and not self._batcher.sending",
        "leads = bool(self._batcher.waiting)",
        "driver/test_step_batches.py::test_what_one_slot_found_busy_another_may_have_reported_for_it",
    ),
    python(
        "a leader that goes looks while it holds the lock",
        "worker/step_reporter",
        """                # Once the lock is free, it may be another who sends.
                leads = next_leader is None and batcher.sending
""",
        """            leads = next_leader is None and batcher.sending
""",
        "driver/test_step_batches.py::test_one_call_is_under_way_when_a_leader_goes_as_another_comes",
    ),
    python(
        "a completion takes along the begin of its step",
        "worker/step_batches",
        "            if early is not None and not early.sent:\n",
        "            if early is not None and early.sent:\n",
        "driver/test_step_batcher.py::test_a_completion_takes_along_the_begin_of_its_step",
    ),
    python(
        "a step that was held up looks at its lease again",
        "driver",
        "            function = self._if_held(function)\n",
        "            pass\n",
        "driver/test_agents_habits.py::test_a_step_that_middleware_holds_up_beyond_the_lease_is_not_executed",
    ),
    python(
        "a begin made by itself holds up no other run",
        "worker/step_reporter",
        'threads.in_background(partial(self._conclude, report), "begin")',
        "self._conclude(report)",
        "driver/test_step_batches.py::test_a_begin_made_by_itself_lasts_as_long_as_the_lease_and_holds_up_no_other_run",
    ),
    python(
        "answers go to the reports they are about",
        "worker/step_batches",
        "batch[answer.ordinal - 1].answer = answer",
        "batch[answer.ordinal % len(batch)].answer = answer",
        "driver/test_step_batcher.py::test_answers_go_to_the_reports_they_are_about",
    ),
    python(
        "a batch has so many reports",
        "worker/step_batches",
        "            if many and size > MOST_TEXT:\n                break\n",
        "",
        "driver/test_step_batcher.py::test_a_batch_has_so_much_text_and_one_report_at_least",
    ),
    python(
        "a call has a limit of time",
        "client/limits",
        "        return now >= self._due\n",
        "        return now >= 100 * self._due\n",
        "driver/test_step_batcher.py::test_a_limit_cuts_off_once_its_time_is_up_and_never_after_its_end",
    ),
    python(
        "a call that has ended is cut off no more",
        "client/limits",
        "                if self._connection is not None:\n",
        "                if True:\n",
        "driver/test_step_batcher.py::test_a_limit_cuts_off_once_its_time_is_up_and_never_after_its_end",
    ),
    python(
        "a webhook signed long ago is refused",
        "webhooks/signing",
        "    if abs(off) > tolerance:\n",
        "    if off < -tolerance:\n",
        "webhooks/test_handler_signatures.py::test_what_was_signed_too_long_ago_is_refused",
    ),
    python(
        "a webhook signed in the future is refused",
        "webhooks/signing",
        "    if abs(off) > tolerance:\n",
        "    if off > tolerance:\n",
        "webhooks/test_handler_signatures.py::test_what_was_signed_too_long_ago_is_refused",
    ),
    python(
        "one of the signatures fits",
        "webhooks/signing",
        "    if True not in equal:\n",
        "    if not equal:\n",
        "webhooks/test_handler_signatures.py::test_any_of_several_secrets_is_enough_on_either_side",
    ),
    python(
        "the id of a message is signed",
        "webhooks/signing",
        'signed = b".".join((message_id.encode(), sent_at.encode(), body))',
        'signed = b".".join((b"", sent_at.encode(), body))',
        "webhooks/test_handler_signatures.py::test_what_standard_webhooks_signs_is_accepted",
    ),
    python(
        "a signature without a date is not enough",
        "webhooks/signing",
        'if dated and "x-tidebase-signature" in given:',
        'if not dated and "x-tidebase-signature" not in given:',
        "webhooks/test_handler_signatures.py::test_the_dated_signature_is_asked_for",
    ),
    python(
        "tokens of gates are not in what is logged of a webhook",
        "webhooks/signing",
        "token: str | None = field(default=None, repr=False)",
        "token: str | None = field(default=None)",
        "webhooks/test_handler_signatures.py::test_an_event_of_a_channel_is_read",
    ),
    python(
        "webhooks go to public addresses",
        "webhooks/addresses",
        "            for address in found:\n",
        "            for address in found[:1]:\n",
        "webhooks/test_addresses.py::test_one_address_that_is_not_public_spoils_the_others",
    ),
    python(
        "webhooks go over https",
        "webhooks/addresses",
        'if scheme == "http" and not self.http:',
        'if scheme == "https" and not self.http and port == "80":',
        "webhooks/test_addresses.py::test_http_has_to_be_allowed",
    ),
    python(
        "names that race and that nothing tells apart are refused",
        "names",
        "                if digest is None or former.digest is None or digest == former.digest:\n",
        "                if digest is None or former.digest is None:\n",
        "driver/test_step_batcher.py::test_branches_whose_uses_nothing_tells_apart_are_refused",
    ),
    python(
        "a name used again is the next step",
        "names",
        "count = 1 if former is None else former.count + former.done",
        "count = 1 if former is None else former.count",
        "driver/test_step_batcher.py::test_a_name_used_again_is_the_next_use",
    ),
    python(
        "a renewal that failed is repeated soon",
        "worker/renewal",
        "        self._again_at = time.monotonic() + min(AFTER_TROUBLE, shortest / 12)\n",
        "",
        "driver/test_active_run.py::test_a_renewal_that_failed_is_repeated_soon",
    ),
    python(
        "leases due soon are renewed along",
        "worker/renewal",
        "due(runs, now, 0.0 if hurried else lease / 6)",
        "due(runs, now, 0.0 if hurried else lease / 3)",
        "driver/test_active_run.py::test_runs_whose_renewal_is_due_soon_go_along",
    ),
    python(
        "what waits long for a slot is handed back",
        "worker/state",
        "return late or (self.stopping and first is not None)",
        "return self.stopping and first is not None",
        "driver/test_worker_state.py"
        "::test_what_waits_too_long_for_a_slot_is_handed_back_and_nothing_more_is_held",
    ),
    python(
        "what does not reach the server is reported again",
        "worker/step_batches",
        "            elif repeats:\n",
        "            elif False:\n",
        "driver/test_step_batcher.py::test_what_may_pass_is_reported_again_and_what_may_not_is_raised",
    ),
]

MUTANTS = [
    *FENCE, *LOCKS, *UNIQUE, *GRANTS, *APPROVALS, *LIMITS, *TIME, *HISTORY, *STEPS, *CANCELLATION,
    *PYTHON,
]  # fmt: skip
