-- Last of all: a function that was just created is executable by PUBLIC.
revoke all on schema tide from public;
revoke all on all tables in schema tide from public;
revoke all on all sequences in schema tide from public;
revoke all on all routines in schema tide from public;
