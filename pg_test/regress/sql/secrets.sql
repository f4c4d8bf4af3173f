-- Secrets: who may set, change, grant and see them, and what is refused.
DROP EXTENSION IF EXISTS pg_tock;
CREATE EXTENSION pg_tock;
CREATE ROLE regress_tock_ann LOGIN;
CREATE ROLE regress_tock_bob LOGIN;
CREATE ROLE regress_tock_team;
GRANT regress_tock_team TO regress_tock_bob;
GRANT USAGE ON SCHEMA cron TO regress_tock_ann, regress_tock_bob, regress_tock_team;
\set SHOW 'SELECT name, owner, set_at <= now() AS dated, encrypted_with, used_by FROM cron.secrets ORDER BY name'

-- Nobody may set one without being let in.
SET ROLE regress_tock_ann;
SELECT cron.set_secret('a', 'b');
\copy cron.secret_input from '/dev/null'
INSERT INTO cron.secret_input VALUES ('a', 'b');
TABLE cron.secret_input;
TABLE cron.secret;
TABLE cron.secret_grant;
DELETE FROM cron.secret;
:SHOW;
RESET ROLE;
GRANT INSERT ON cron.secret_input TO regress_tock_ann, regress_tock_bob, regress_tock_team;
GRANT EXECUTE ON FUNCTION cron.set_secret(text, text) TO regress_tock_bob;

-- COPY sets each of its lines, or none.
SET ROLE regress_tock_ann;
COPY cron.secret_input FROM STDIN;
stripe	sk_live_1
smtp/password	pa ss"word
\.
:SHOW;
COPY cron.secret_input FROM STDIN;
third	value
a name with blanks	value
\.
COPY cron.secret_input FROM STDIN;
third	
\.
COPY cron.secret_input FROM STDIN;
third	\N
\.
COPY cron.secret_input FROM STDIN;
\N	value
\.
COPY cron.secret_input FROM STDIN;
alone
\.
COPY cron.secret_input FROM STDIN;
one	too	many
\.
COPY cron.secret_input (name) FROM STDIN;
alone
\.
COPY cron.secret_input (value, name) FROM STDIN (FORMAT csv);
"by csv",by_csv
\.
:SHOW;
SELECT name FROM cron.secret;
SELECT cron.drop_secret('by_csv');

-- Setting it again replaces the value, whoever of the right roles does it.
SET ROLE regress_tock_bob;
SELECT cron.set_secret('stripe', 'mine now');
:SHOW;
SELECT cron.set_secret('bobs', repeat('v', 16384));
SELECT cron.set_secret('bobs', repeat('v', 16385));
SELECT cron.set_secret('bobs', '');
SELECT cron.set_secret('bobs', NULL);
SELECT cron.set_secret(NULL, 'v');
SELECT cron.set_secret(repeat('n', 64), 'v');
SELECT cron.set_secret('b}}', 'v');
SET ROLE regress_tock_team;
COPY cron.secret_input FROM STDIN;
team	spirit
\.
SET ROLE regress_tock_bob;
SELECT cron.set_secret('team', 'other spirit');
:SHOW;
RESET ROLE;
SELECT cron.set_secret('stripe', 'sk_live_2');
SELECT name, owner FROM cron.secrets ORDER BY name;
-- Without a key file they are stored as they are.
SELECT name, owner::regrole, convert_from(substr(value, 2), 'UTF8') = 'sk_live_2' AS plain FROM cron.secret WHERE name = 'stripe';

-- Grants.
SET ROLE regress_tock_bob;
SELECT cron.grant_secret('stripe', 'regress_tock_bob');
SELECT cron.revoke_secret('stripe', 'regress_tock_bob');
SELECT cron.drop_secret('stripe');
SET ROLE regress_tock_ann;
SELECT cron.grant_secret('stripe', 'regress_tock_team');
SELECT cron.grant_secret('stripe', 'regress_tock_team');
SELECT cron.grant_secret('stripe', 'regress tock nobody');
SELECT cron.grant_secret('stripe', NULL);
SELECT cron.grant_secret('nonesuch', 'regress_tock_bob');
SELECT cron.grant_secret(NULL, 'regress_tock_bob');
SELECT cron.revoke_secret('nonesuch', 'regress_tock_bob');
SELECT cron.drop_secret('nonesuch');
SELECT cron.drop_secret(NULL);
SET ROLE regress_tock_bob;
:SHOW;
SELECT cron.set_secret('stripe', 'granted is not owned');
SET ROLE regress_tock_ann;
SELECT cron.revoke_secret('stripe', 'regress_tock_team');
SELECT cron.revoke_secret('stripe', 'regress_tock_team');
SET ROLE regress_tock_bob;
:SHOW;

-- Rotation is for superusers; without a key file there is nothing to do.
SELECT cron.rotate_secrets();
RESET ROLE;
GRANT EXECUTE ON FUNCTION cron.rotate_secrets() TO regress_tock_bob;
SET ROLE regress_tock_bob;
SELECT cron.rotate_secrets();
SET cron.secret_key_file = '/tmp/keys';
\set VERBOSITY sqlstate
SHOW cron.secret_key_file;
\set VERBOSITY default
RESET ROLE;
SELECT cron.rotate_secrets();
SHOW cron.secret_key_file;

-- Bytes that nobody here has written are not taken for a value.
UPDATE cron.secret SET value = '\x0101' WHERE name = 'team';
SELECT name, encrypted_with FROM cron.secrets WHERE name = 'team';
SELECT cron.rotate_secrets();
UPDATE cron.secret SET value = '\x01026b31' || decode(repeat('00', 40), 'hex') WHERE name = 'team';
SELECT name, encrypted_with FROM cron.secrets WHERE name = 'team';
SELECT cron.rotate_secrets();
SELECT cron.set_secret('team', 'spirit');

-- A role that goes takes its secrets along; one made anew under its name has none.
SELECT cron.grant_secret('team', 'regress_tock_ann');
REVOKE ALL ON SCHEMA cron FROM regress_tock_ann;
REVOKE ALL ON cron.secret_input FROM regress_tock_ann;
BEGIN;
DROP ROLE regress_tock_ann;
SELECT name, owner FROM cron.secrets ORDER BY name;
SELECT count(*) FROM cron.secret_grant;
ROLLBACK;
SELECT name, owner FROM cron.secrets ORDER BY name;
SELECT count(*) FROM cron.secret_grant;
DROP ROLE regress_tock_ann;
SELECT name, owner FROM cron.secrets ORDER BY name;
SELECT count(*) FROM cron.secret_grant;

-- Not in the statistics.
ANALYZE cron.secret;
SELECT staattnum FROM pg_statistic s JOIN pg_attribute a ON a.attrelid = s.starelid AND a.attnum = s.staattnum
WHERE s.starelid = 'cron.secret'::regclass AND a.attname = 'value';

-- As a trigger only, and not on a standby or in a transaction that reads.
SELECT cron.secret_given();
BEGIN READ ONLY;
SELECT cron.set_secret('a', 'b');
ROLLBACK;

-- What an administrator's default privileges give away is empty to others.
GRANT ALL ON cron.secret, cron.secret_grant TO regress_tock_bob;
SET ROLE regress_tock_bob;
SELECT count(*) FROM cron.secret;
UPDATE cron.secret SET owner = 0;
INSERT INTO cron.secret (name, owner, value) VALUES ('x', 1, '');
RESET ROLE;

DROP EXTENSION pg_tock;
DROP OWNED BY regress_tock_bob, regress_tock_team;
DROP ROLE regress_tock_bob;
DROP ROLE regress_tock_team;
