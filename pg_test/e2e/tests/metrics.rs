//! Metrics: what they say is so, whoever reads them by grant sees all jobs and no command, the text is
//! what a scraper reads, and everything under monitoring/ fits them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a broken expectation is a failed test"
)]

use pg_tock_test::{Cluster, sqlstate};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use yaml_rust2::{Yaml, YamlLoader};

/// What a scraper must not trip over.
const HOSTILE: &str = "a\"b\\c\nd{e=\"f\"} 1\n# EOF\n日本\u{202e}";

/// A cluster with jobs of two roles that have run, and a role that may read the metrics.
fn busy_cluster() -> Cluster {
    let cluster = Cluster::start();
    cluster.role("ann");
    cluster
        .sql("create role \"o\"\"'\\wner\" login; grant usage on schema cron to \"o\"\"'\\wner\"");
    let jobs = [
        cluster.schedule_as("ann", HOSTILE, "1 second", "select 'top secret'"),
        cluster.schedule_as("ann", "failing", "1 second", "select ('top secret')::int"),
        cluster.schedule_as("o\"'\\wner", "good", "1 second", "select 1"),
    ];
    for job in jobs {
        let _ = cluster.finished_runs(job, 2);
    }
    cluster.schedule_as("ann", "nap", "1 second", "select pg_sleep(3600)");
    cluster.wait_for("(select count(*) = 1 from cron.running where jobname = 'nap')");
    cluster.wait_for("(select count(*) = 3 from cron.job_stats where total_runs > 1)");
    cluster.sql(
        "create role monitor login; grant usage on schema cron to monitor; \
         grant select on cron.metrics to monitor; \
         create role eve login; grant usage on schema cron to eve",
    );
    cluster
}

fn text_as(cluster: &Cluster, role: &str) -> String {
    cluster.client_as(role).query_one("select cron.metrics_text()", &[]).unwrap().get(0)
}

#[derive(Debug, PartialEq)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

/// Reads a sample's line as a scraper does.
fn sample(line: &str) -> Sample {
    let end = line.find(['{', ' ']).unwrap_or_else(|| panic!("no sample: {line}"));
    let (name, mut rest) = line.split_at(end);
    let mut labels = BTreeMap::new();
    if rest.starts_with('{') {
        while !rest.starts_with('}') {
            let (label, after) = rest[1..].split_once("=\"").unwrap_or_else(|| panic!("{line}"));
            let mut text = String::new();
            let mut chars = after.chars();
            loop {
                match chars.next().unwrap_or_else(|| panic!("no end: {line}")) {
                    '"' => break,
                    '\\' => match chars.next() {
                        Some('n') => text.push('\n'),
                        Some(c @ ('"' | '\\')) => text.push(c),
                        other => panic!("\\{other:?} in {line}"),
                    },
                    c => text.push(c),
                }
            }
            rest = chars.as_str();
            assert!(labels.insert(label.to_owned(), text).is_none(), "{label} twice: {line}");
        }
        rest = &rest[1..];
    }
    let value = rest.strip_prefix(' ').unwrap_or_else(|| panic!("no value: {line}"));
    Sample { name: name.to_owned(), labels, value: value.parse().unwrap() }
}

/// Reads a whole text: each family has one head, all its samples follow it, and none comes twice.
fn read(text: &str) -> Vec<Sample> {
    let body = text.strip_suffix("# EOF\n").expect("an end");
    let mut families = BTreeSet::new();
    let (mut helped, mut family) = (String::new(), (String::new(), String::new()));
    let mut samples: Vec<Sample> = Vec::new();
    for line in body.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            help.split_once(' ').unwrap().0.clone_into(&mut helped);
            assert!(families.insert(helped.clone()), "{helped} has two heads");
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert_eq!(name, helped, "help and type belong together");
            family = (name.to_owned(), kind.to_owned());
        } else {
            let sample = sample(line);
            let bare = |name: &str| match family.1.as_str() {
                "summary" => name.trim_end_matches("_sum").trim_end_matches("_count").to_owned(),
                _ => name.to_owned(),
            };
            assert_eq!(bare(&sample.name), family.0, "{line}");
            assert_eq!(family.1 == "counter", sample.name.ends_with("_total"), "{line}");
            samples.push(sample);
        }
    }
    let mut seen: Vec<String> =
        samples.iter().map(|sample| format!("{}{:?}", sample.name, sample.labels)).collect();
    seen.sort();
    let all = seen.len();
    seen.dedup();
    assert_eq!(seen.len(), all, "a sample comes twice");
    samples
}

/// Whether a figure may change from one look to the next while nothing runs.
fn is_volatile(name: &str) -> bool {
    name.contains("executor") || name.contains("late") || name.contains("waiting")
}

#[test]
fn the_text_is_the_view() {
    let cluster = busy_cluster();
    cluster.stop_all_jobs();
    cluster.wait_quiet();
    let mut client = cluster.client_as("monitor");
    client.batch_execute("begin isolation level repeatable read").unwrap();
    let text: String = client.query_one("select cron.metrics_text()", &[]).unwrap().get(0);
    let rows = client
        .query(
            "select name, value, (select string_agg(k || '=' || v, ',' order by k collate \"C\") \
             from jsonb_each_text(labels) l(k, v)) from cron.metrics",
            &[],
        )
        .unwrap();
    let key = |name: &str, labels: &str| format!("{name} {labels}");
    let in_view: BTreeMap<String, f64> = rows
        .iter()
        .filter(|row| !is_volatile(row.get(0)))
        .map(|row| (key(row.get(0), row.get(2)), row.get(1)))
        .collect();
    let in_text: BTreeMap<String, f64> = read(&text)
        .into_iter()
        .filter(|sample| !is_volatile(&sample.name))
        .map(|sample| {
            let labels: Vec<String> =
                sample.labels.iter().map(|(label, text)| format!("{label}={text}")).collect();
            (key(&sample.name, &labels.join(",")), sample.value)
        })
        .collect();
    assert_eq!(in_text, in_view);
    assert!(in_view.len() > 40, "{in_view:#?}");
    assert!(in_view.keys().any(|key| key.contains(HOSTILE)), "{in_view:#?}");
}

#[test]
fn figures_are_those_of_the_ledger() {
    let cluster = busy_cluster();
    cluster.stop_all_jobs();
    cluster.wait_quiet();
    cluster.wait_for(
        "(select sum(total_runs) from cron.job_stats) = \
         (select count(*) from cron.job_run_details where end_time is not null)",
    );
    let different: Vec<String> = cluster.column(
        "select format('%s %s: %s, not %s', m.name, m.labels, m.value, d.count) from cron.metrics m \
         join (select jobid, coalesce(outcome, 'none') as outcome, count(*) from cron.job_run_details \
          group by 1, 2) d on d.jobid::text = m.labels->>'jobid' and d.outcome = m.labels->>'outcome' \
         where m.name = 'pg_tock_job_runs_total' and m.value <> d.count \
         union all select format('%s: %s', m.labels, m.value) from cron.metrics m \
         where m.name = 'pg_tock_job_duration_seconds_count' and m.value <> (select count(*) \
          from cron.job_run_details d where d.jobid::text = m.labels->>'jobid')",
    );
    assert_eq!(different, Vec::<String>::new());
    let value = |name: &str| -> f64 {
        cluster.one(&format!("select value from cron.metrics where name = '{name}'"))
    };
    assert!((value("pg_tock_up") - 1.0).abs() < 0.1);
    assert!(value("pg_tock_dead_letters") > 1.0);
}

#[test]
fn figures_of_what_goes_on_are_those_of_the_views() {
    // Fewer slots than runs that will want one: some wait.
    let cluster = Cluster::builder().max_worker_processes(5).start();
    let figure =
        |name: &str| format!("(select value from cron.metrics where name = 'pg_tock_{name}')");
    // In one statement, and again until nothing has changed in between.
    let same = |name: &str, seen: &str| {
        let value = figure(name);
        cluster.wait_for(&format!("({value} = ({seen}) and {value} > 0)"));
    };
    let start = |name: &str| {
        cluster.schedule(name, "@yearly", "select pg_sleep(3600)");
        cluster.sql(&format!("select cron.run_now('{name}')"));
    };
    start("first");
    cluster.wait_for("(select slots_in_use = 1 and slots > 1 from cron.health)");
    same("executors", "select slots_in_use from cron.health");
    same("executor_slots", "select slots from cron.health");
    (2..=8).for_each(|n| start(&n.to_string()));
    // No two of them are the same: running, waiting and asked for.
    cluster.wait_for(
        "(select short_of_slots and running = slots and waiting = 8 - slots \
          and waiting <> running from cron.health)",
    );
    same("running", "select running from cron.health");
    same("running", "select count(*) from cron.running");
    same("waiting", "select waiting from cron.health");
    same("requested", "select count(*) from cron.run_request");
    same("short_of_slots", "select short_of_slots::int from cron.health");
    let waited = figure("waiting_seconds");
    cluster.wait_for(&format!(
        "(select abs({waited} - extract(epoch from waited)) < 0.5 and {waited} > 1 from cron.health)"
    ));
    let of_job = "select count(*) from cron.running r join cron.metrics m on m.labels->>'jobid' = r.jobid::text";
    let runs: i64 = cluster.one("select count(*) from cron.running");
    let counted = format!("{of_job} where m.name = 'pg_tock_job_running' and m.value = 1");
    assert_eq!(cluster.one::<i64>(&counted), runs);
    let lasting = "m.name = 'pg_tock_job_running_seconds' and r.elapsed > interval '1 second' \
         and abs(m.value - extract(epoch from r.elapsed)) < 0.5";
    cluster.wait_for(&format!("({of_job} where {lasting}) = {runs}"));
}

#[test]
fn metrics_are_for_those_who_are_granted_them() {
    let cluster = busy_cluster();
    for (role, may) in [("ann", false), ("eve", false), ("monitor", true), ("postgres", true)] {
        for query in [
            "select count(*) from cron.metrics",
            "select count(cron.metrics_text())",
            "select count(*) from cron.metric_figures()",
        ] {
            match cluster.client_as(role).query_one(query, &[]) {
                Ok(row) => assert!(may && row.get::<_, i64>(0) > 0, "{role}: {query}"),
                Err(error) => {
                    assert!(!may && sqlstate(&error) == "42501", "{role}: {query}: {error}");
                }
            }
        }
    }
    let text = text_as(&cluster, "monitor");
    assert_eq!(text.matches("pg_tock_job_active{").count(), 4, "jobs of all roles: {text}");
    assert!(!text.contains("top secret"), "a command or a message: {text}");
    let mut monitor = cluster.client_as("monitor");
    let jobs: i64 = monitor.query_one("select count(*) from cron.job", &[]).unwrap().get(0);
    assert_eq!(jobs, 0, "the grant is for the metrics alone");
}

#[test]
#[ignore = "needs promtool"]
fn promtool_accepts_the_text() {
    let promtool = std::env::var_os("PG_TOCK_PROMTOOL").expect("PG_TOCK_PROMTOOL: run ci/e2e.sh");
    let promtool = PathBuf::from(promtool);
    let cluster = busy_cluster();
    let accepted = check(&promtool, &["check", "metrics"], text_as(&cluster, "monitor").as_bytes());
    assert_eq!(accepted, (true, String::new()));
    let (accepted, why) = check(&promtool, &["check", "metrics"], b"a_total{b=\"c\"} 1\n");
    assert!(!accepted, "what has no help is refused: {why}");
    let rules = in_this_repository("monitoring/prometheus/pg_tock.rules.yml");
    let (accepted, why) = check(&promtool, &["check", "rules", rules.to_str().unwrap()], b"");
    assert!(accepted, "{why}");
    let cases = in_this_repository("pg_test/e2e/fixtures/pg_tock.rules.test.yml");
    let (fire, why) = check(&promtool, &["test", "rules", cases.to_str().unwrap()], b"");
    assert!(fire, "{why}");
}

fn check(promtool: &Path, args: &[&str], input: &[u8]) -> (bool, String) {
    let mut child = Command::new(promtool)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn in_this_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

fn file(path: &str) -> String {
    fs::read_to_string(in_this_repository(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn yaml(path: &str) -> Yaml {
    YamlLoader::load_from_str(&file(path)).unwrap().remove(0)
}

fn word(yaml: &Yaml) -> &str {
    yaml.as_str().unwrap_or_else(|| panic!("not a text: {yaml:?}"))
}

fn words(yaml: &Yaml) -> BTreeSet<String> {
    yaml.as_vec().unwrap().iter().map(|item| word(item).to_owned()).collect()
}

/// Makes each figure of each job another number, once nothing changes them any more.
fn tell_apart(cluster: &Cluster) {
    cluster.stop_all_jobs();
    cluster.wait_quiet();
    cluster.flush();
    cluster.sql(
        "update cron.job_stat set successful_runs = 10 + jobid, timed_out_runs = 20 + jobid, \
          cancelled_runs = 30 + jobid, crashed_runs = 40 + jobid, failed_runs = 150 + 4 * jobid, \
          total_runs = 160 + 5 * jobid, retried_runs = 70 + jobid, skipped_runs = 80 + jobid, \
          wal_bytes = 90 + jobid, rows = 100 + jobid, consecutive_failures = 110 + jobid, \
          total_ms = 120000 + jobid, max_ms = 130000 + jobid",
    );
}

/// What a query's columns are called. Each figure, a column and the name of its sample, is the one of
/// the view with the same labels, or NaN if there is none.
fn columns(
    client: &mut postgres::Client,
    query: &str,
    figures: &[(&str, String)],
) -> BTreeSet<String> {
    let rows = client.query(query, &[]).unwrap_or_else(|error| panic!("{query}: {error}"));
    assert!(!rows.is_empty(), "{query}");
    for (column, name) in figures.iter().filter(|(_, name)| !is_volatile(name)) {
        let different = format!(
            "with told as ({query}), labelled as (select {column} as told, (select jsonb_object_agg(k, v) \
              from jsonb_each_text(to_jsonb(told)) l(k, v) where v <> '' and k = any ('{{database,jobid,jobname,\
              owner,outcome,quantile,server,version}}')) as labels from told) \
             select format('%s: %s, not %s', l.labels, l.told, m.value) from labelled l full join \
              (select * from cron.metrics where name = '{name}') m using (labels) \
             where l.told is distinct from coalesce(m.value, 'NaN')"
        );
        let found = client.query(&different, &[]).unwrap_or_else(|error| panic!("{name}: {error}"));
        let found: Vec<String> = found.iter().map(|row| row.get(0)).collect();
        assert_eq!(found, [""; 0], "{name}");
    }
    rows[0].columns().iter().map(|column| column.name().to_owned()).collect()
}

/// The names of all samples there can be: the test's jobs have run and failed.
fn names(cluster: &Cluster) -> BTreeSet<String> {
    cluster.column("select distinct name from cron.metrics").into_iter().collect()
}

#[test]
fn queries_for_sql_exporter_give_every_metric() {
    let cluster = busy_cluster();
    tell_apart(&cluster);
    let mut client = cluster.client_as("monitor");
    let collector = yaml("monitoring/sql_exporter/pg_tock.collector.yml");
    let queries: BTreeMap<&str, &str> = collector["queries"]
        .as_vec()
        .unwrap()
        .iter()
        .map(|query| (word(&query["query_name"]), word(&query["query"])))
        .collect();
    let mut given = BTreeSet::new();
    for metric in collector["metrics"].as_vec().unwrap() {
        let name = word(&metric["metric_name"]);
        assert!(given.insert(name.to_owned()), "{name} twice");
        let (labels, values) = (words(&metric["key_labels"]), words(&metric["values"]));
        let figures: Vec<(&str, String)> =
            values.iter().map(|value| (value.as_str(), name.to_owned())).collect();
        let found = columns(&mut client, queries[word(&metric["query_ref"])], &figures);
        for column in labels.union(&values) {
            assert!(found.contains(column), "{name}: there is no {column} in {found:?}");
        }
        assert_eq!(kind(&cluster, name), word(&metric["type"]), "{name}");
        assert!(word(&metric["help"]).len() > 5, "{name}");
    }
    assert_eq!(given, names(&cluster));
}

/// The type of a sample for exporters that know no summaries.
fn kind(cluster: &Cluster, name: &str) -> String {
    cluster.one(&format!(
        "select distinct case when type <> 'summary' then type \
          when name ~ '_(sum|count)$' then 'counter' else 'gauge' end \
         from cron.metrics where name = '{name}'"
    ))
}

#[test]
fn queries_for_postgres_exporter_give_every_metric() {
    let cluster = busy_cluster();
    tell_apart(&cluster);
    let mut client = cluster.client_as("monitor");
    let mut given = BTreeSet::new();
    for (namespace, entry) in yaml("monitoring/postgres_exporter/queries.yaml").as_hash().unwrap() {
        let mut described = BTreeSet::new();
        let mut figures = Vec::new();
        for metric in entry["metrics"].as_vec().unwrap() {
            let (column, about) = metric.as_hash().unwrap().front().unwrap();
            let column = word(column);
            described.insert(column.to_owned());
            assert!(word(&about["description"]).len() > 5, "{column}");
            let usage = word(&about["usage"]);
            if usage != "LABEL" {
                let name = format!("{}_{column}", word(namespace));
                assert_eq!(kind(&cluster, &name).to_uppercase(), usage, "{name}");
                assert!(given.insert(name.clone()), "{column} twice");
                figures.push((column, name));
            }
        }
        let found = columns(&mut client, word(&entry["query"]), &figures);
        assert_eq!(found, described, "{namespace:?}");
    }
    assert_eq!(given, names(&cluster));
}

/// Every word that begins as our metrics do.
fn metrics_in(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|word| word.starts_with("pg_tock_"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn dashboard_and_rules_ask_for_what_there_is() {
    let cluster = busy_cluster();
    let names = names(&cluster);
    let dashboard: serde_json::Value =
        serde_json::from_str(&file("monitoring/grafana/pg_tock.json")).unwrap();
    let mut asked = BTreeSet::new();
    let mut stack = vec![&dashboard];
    while let Some(value) = stack.pop() {
        match value {
            serde_json::Value::Array(all) => stack.extend(all),
            serde_json::Value::Object(all) => {
                for (key, value) in all {
                    if ["expr", "query", "definition"].contains(&key.as_str())
                        && let Some(text) = value.as_str()
                    {
                        asked.extend(metrics_in(text));
                    }
                    stack.push(value);
                }
            }
            _ => {}
        }
    }
    assert!(asked.len() >= 8, "{asked:?}");
    let strangers: Vec<&String> = asked.difference(&names).collect();
    assert!(strangers.is_empty(), "the dashboard asks for {strangers:?}");
    let ids: Vec<i64> = dashboard["panels"]
        .as_array()
        .unwrap()
        .iter()
        .map(|panel| panel["id"].as_i64().unwrap())
        .collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "ids of panels: {ids:?}");
    let (mut rules, mut absent) = (0, 0);
    for group in yaml("monitoring/prometheus/pg_tock.rules.yml")["groups"].as_vec().unwrap() {
        for rule in group["rules"].as_vec().unwrap() {
            rules += 1;
            let asked = metrics_in(word(&rule["expr"]));
            assert!(!asked.is_empty() && asked.is_subset(&names), "{rule:?}");
            // A server that is down has no metric that is 0.
            if word(&rule["expr"]) == "absent(pg_tock_up)" {
                assert_eq!(
                    (word(&rule["for"]), word(&rule["labels"]["severity"])),
                    ("5m", "critical")
                );
                absent += 1;
            }
        }
    }
    assert!(rules >= 4 && absent == 1, "{rules} rules, {absent} of them for a server that is down");
}

#[test]
fn the_documented_metrics_are_those_there_are() {
    let cluster = busy_cluster();
    let mut written = BTreeMap::new();
    for line in file("docs/operations.md").lines().filter(|line| line.starts_with("| `pg_tock_")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [name, kind, labels, meaning] = cells[..] else { panic!("four columns: {line}") };
        assert!(meaning.len() > 5, "{line}");
        written.insert(name.replace('`', ""), (kind.to_owned(), labels.replace('`', "")));
    }
    let known = cluster.rows(
        "select distinct on (1) case type when 'summary' then regexp_replace(name, '_(sum|count)$', '') \
          else name end, type, (select coalesce(string_agg(k, ', ' order by k), '') \
          from jsonb_object_keys(labels - '{database,jobid,jobname,owner}'::text[]) k) \
         from cron.metrics order by 1, 3 desc",
        &[],
    );
    let known: BTreeMap<String, (String, String)> =
        known.iter().map(|row| (row.get(0), (row.get(1), row.get(2)))).collect();
    assert_eq!(written, known, "docs/operations.md (left) and cron.metrics (right)");
}
