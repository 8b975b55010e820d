-- tide: with the functions
-- Functions with new arguments, made again in this transaction. No lock on tables.
drop function if exists tide.begin_step;
drop function if exists tide.open_gate;
drop function if exists tide.decide_gate;
drop function if exists tide.resolve_gate;
drop function if exists tide._resolve;
drop function if exists tide._decide;
drop function if exists tide._parse_contract;
drop function if exists tide._closed_queues;
drop function if exists tide.record_usage;
drop function if exists tide.finish_delivery;
drop function if exists tide._take_answer;
drop function if exists tide._add_channels;
drop function if exists tide._event_body;
