-- What steps under way have reserved of budgets. A short lock: columns without a rewrite.
alter table tide.spending
add column reserved_usd numeric not null default 0,
add column reserved_tokens numeric not null default 0;
comment on column tide.spending.reserved_usd is 'What steps under way have reserved.';
comment on column tide.spending.reserved_tokens is 'What steps under way have reserved.';
