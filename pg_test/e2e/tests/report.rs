//! The page and the timeline on a server that has seen something: well-formed, harmless, of bounded
//! size, and for each reader no more than the reader may see.

#![allow(clippy::unwrap_used, reason = "a broken expectation is a failed test")]

use pg_tock_test::page::Page;
use pg_tock_test::{Cluster, sqlstate};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const HOSTILE: &str = "</script><img src=x onerror=alert(1)> \"q\" 'a' & \u{202e}rtl";

/// A cluster with jobs of two roles that have run, failed, and go on running.
fn busy_cluster() -> Cluster {
    let cluster = Cluster::builder().conf("timezone", "Europe/Berlin").start();
    for role in ["ann", "bob"] {
        cluster.role(role);
        let failing = format!("select ('</pre><script>alert(1)</script> {role}''s secret')::int");
        let jobs = [
            cluster.schedule_as(role, &format!("{HOSTILE} of {role}"), "1 second", &failing),
            cluster.schedule_as(role, &format!("good job of {role}"), "1 second", "select 1"),
        ];
        for job in jobs {
            let _ = cluster.finished_runs(job, 2);
        }
        cluster.schedule_as(role, &format!("nap of {role}"), "1 second", "select pg_sleep(3600)");
    }
    cluster.wait_for("(select count(*) = 2 from cron.running where jobname like 'nap%')");
    cluster
}

fn report_as(cluster: &Cluster, role: &str) -> String {
    cluster.client_as(role).query_one("select cron.report_html()", &[]).unwrap().get(0)
}

#[test]
fn the_page_is_well_formed_and_reaches_nothing() {
    let cluster = busy_cluster();
    let html = report_as(&cluster, "postgres");
    let page = Page::read(&html);
    assert_eq!(page.complaints(), Vec::<String>::new(), "{html}");
    let text = page.text();
    for shown in [
        "</script><img src=x onerror=alert(1)> \"q\" 'a' & \\u{202e}rtl of ann",
        "</pre><script>alert(1)</script> ann's secret",
        "good job of bob",
        "Europe/Berlin",
        "whose last run failed",
        "Coming runs",
    ] {
        assert!(text.contains(shown), "{shown} is not in\n{text}");
    }
}

#[test]
fn readers_see_their_own_jobs_only() {
    let cluster = busy_cluster();
    cluster.sql("create role eve login; grant usage on schema cron to eve");
    for (reader, stranger) in [("ann", "bob"), ("bob", "ann")] {
        let page = Page::read(&report_as(&cluster, reader));
        let text = page.text();
        assert!(text.contains(&format!("good job of {reader}")), "{text}");
        assert!(text.contains(&format!("{reader}'s secret")), "{text}");
        assert!(!text.contains(&format!("of {stranger}")), "{text}");
        assert!(!text.contains(&format!("{stranger}'s secret")), "{text}");
        assert_eq!(page.complaints(), Vec::<String>::new());
        let mut client = cluster.client_as(reader);
        let lines = lines(&mut client, "select cron.timeline()").join("\n");
        assert!(
            lines.contains("good job of") && !lines.contains(&format!("of {stranger}")),
            "{lines}"
        );
        let id: i64 =
            cluster.one(&format!("select jobid from cron.job where jobname = 'nap of {stranger}'"));
        let refused = client.query("select cron.timeline($1::bigint)", &[&id]).unwrap_err();
        assert_eq!(sqlstate(&refused), "42704", "somebody else's job is as good as none");
    }
    let text = Page::read(&report_as(&cluster, "eve")).text();
    assert!(text.contains("There is no job you may see."), "{text}");
}

fn lines(client: &mut postgres::Client, query: &str) -> Vec<String> {
    client.query(query, &[]).unwrap().iter().map(|row| row.get(0)).collect()
}

#[test]
fn the_timeline_marks_what_happened() {
    let cluster = busy_cluster();
    let mut client = cluster.client_as("ann");
    let drawn = lines(&mut client, "select cron.timeline('nap of ann', '1 hour')");
    assert_eq!(drawn.len(), 5, "{drawn:#?}");
    assert!(drawn[3].contains('▶') && drawn[3].ends_with("1 run"), "{drawn:#?}");
    let drawn = lines(&mut client, "select cron.timeline()");
    let failing = drawn.iter().find(|line| line.contains('<')).expect("the failing job");
    assert!(failing.contains('✗') && failing.contains("failed"), "{drawn:#?}");
    // A client that cannot show blocks gets letters.
    client.batch_execute("set client_encoding = 'SQL_ASCII'").unwrap();
    let drawn = lines(&mut client, "select cron.timeline(null)");
    assert!(drawn.iter().all(|line| line.is_ascii()), "{drawn:#?}");
    assert!(drawn.iter().any(|line| line.ends_with('>') || line.contains("> 1 run")), "{drawn:#?}");
}

#[test]
fn other_encodings_change_nothing() {
    let cluster = Cluster::builder().conf("cron.database_name", "*").start();
    for (database, encoding) in [("latin", "LATIN1"), ("raw", "SQL_ASCII")] {
        cluster.sql(&format!(
            "create database {database} template template0 encoding '{encoding}' lc_collate 'C' lc_ctype 'C'"
        ));
        let mut client = cluster.client_in(database);
        client.batch_execute("create extension pg_tock").unwrap();
        // In the one e with an acute accent, in the other not valid at all in UTF-8.
        client
            .batch_execute(
                "do $$ begin perform cron.schedule(convert_from('\\x636166e9', \
                 case getdatabaseencoding() when 'LATIN1' then 'LATIN1' else 'SQL_ASCII' end)::text, \
                 '0 1 * * *', 'select 1'); end $$",
            )
            .unwrap();
        let html: String = client.query_one("select cron.report_html()", &[]).unwrap().get(0);
        let page = Page::read(&html);
        assert_eq!(page.complaints(), Vec::<String>::new(), "{database}: {html}");
        let name = if encoding == "LATIN1" { "caf\u{e9}" } else { "caf\u{fffd}" };
        assert!(page.text().contains(name), "{database}: {}", page.text());
        let drawn = lines(&mut client, "select cron.timeline()");
        assert!(drawn[3].starts_with("caf?  "), "{drawn:#?}");
    }
}

#[test]
fn many_jobs_and_runs_make_no_large_page() {
    let cluster = Cluster::builder().conf("cron.launch_active_jobs", "off").start();
    cluster.sql(
        "insert into cron.job (jobid, jobname, schedule, command, nodeport) \
         select n, repeat('<', 60) || n, '* * * * *', 'select 1', 1 from generate_series(1, 3000) n; \
         insert into cron.job_run_details (jobid, runid, username, jobname, status, outcome, return_message, \
          start_time, end_time, scheduled_for, attempt) \
         select j, nextval('cron.runid_seq'), 'postgres', 'x', o, o, repeat('&', 5000), t, \
          t + interval '1 second', t, 1 \
         from generate_series(1, 3000) j, generate_series(1, 100) m, \
          lateral (select now() - m * interval '10 minutes' as t, \
           case when m % 2 = 0 then 'failed' else 'succeeded' end as o) of_run; \
         analyze cron.job_run_details",
    );
    let html: String = cluster.one("select cron.report_html()");
    assert!(html.len() < 1_500_000, "{} bytes", html.len());
    let page = Page::read(&html);
    assert_eq!(page.complaints(), Vec::<String>::new());
    let text = page.text();
    // 66 runs of each of them are read.
    for shown in ["The other 2,970 jobs", "196,020 runs", "3,000 jobs have", "more failed"] {
        assert!(text.contains(shown), "{shown} is not in\n{text}");
    }
    let drawn = cluster.column::<String>("select cron.timeline()");
    assert_eq!(drawn.len(), 3 + 30 + 2, "{drawn:#?}");
}

#[test]
#[ignore = "needs chromium"]
fn chromium_shows_the_page_without_a_word() {
    let chromium = std::env::var_os("PG_TOCK_CHROMIUM").expect("PG_TOCK_CHROMIUM: run ci/e2e.sh");
    let chromium = PathBuf::from(chromium);
    let cluster = busy_cluster();
    let html = report_as(&cluster, "postgres");
    let dir = cluster.dir().join("page");
    fs::create_dir(&dir).unwrap();
    let page = dir.join("report.html");
    fs::write(&page, &html).unwrap();
    let mut pictures = Vec::new();
    for scheme in ["0", "1"] {
        let picture = dir.join(format!("{scheme}.png"));
        let log = browse(
            &chromium,
            &dir,
            &page,
            &[
                &format!("--screenshot={}", picture.display()),
                "--window-size=1200,1600",
                &format!("--blink-settings=preferredColorScheme={scheme}"),
            ],
        );
        assert!(!log.contains("CONSOLE"), "{log}");
        pictures.push(fs::read(picture).unwrap());
    }
    assert_ne!(pictures[0], pictures[1], "dark and light look the same");
    assert_eq!(requests(&dir), Vec::<String>::new());
    // Had it asked for something, we would know.
    let asking = dir.join("asking.html");
    fs::write(&asking, "<img src='https://outside.invalid/x.png'>").unwrap();
    let _ = browse(&chromium, &dir, &asking, &["--dump-dom"]);
    assert_eq!(requests(&dir), ["https://outside.invalid/x.png"]);
    // As wide as a phone, in a frame; the frame's page tells how wide it has become.
    let around = dir.join("around.html");
    fs::write(&around, measuring(&html)).unwrap();
    let seen = browse(&chromium, &dir, &around, &["--virtual-time-budget=10000", "--dump-dom"]);
    assert!(seen.contains("<body>too wide by: 0 0 0 0</body>"), "{seen}");
}

/// Opens a page; what the browser and the page had to say.
fn browse(chromium: &Path, dir: &Path, page: &Path, more: &[&str]) -> String {
    let output = Command::new(chromium)
        .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
        .args(["--no-first-run", "--disable-background-networking", "--disable-component-update"])
        .args(["--disable-sync", "--disable-quic", "--enable-logging=stderr"])
        .arg(format!("--user-data-dir={}", dir.join("profile").display()))
        .arg(format!("--log-net-log={}", dir.join("net.json").display()))
        .args(more)
        .arg(format!("file://{}", page.display()))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

/// What the browser asked for, other than for its own purposes.
fn requests(dir: &Path) -> Vec<String> {
    let log = fs::read_to_string(dir.join("net.json")).unwrap();
    // It may have been cut off in the middle of a line: each event is a line.
    let mut urls: Vec<String> = log
        .lines()
        .filter_map(|line| {
            serde_json::from_str::<serde_json::Value>(line.trim_end_matches(',')).ok()
        })
        .filter_map(|event| Some(event.get("params")?.get("url")?.as_str()?.to_owned()))
        .filter(|url| !url.starts_with("chrome") && !url.starts_with("data:"))
        .filter(|url| {
            !["google.com/", "googleapis.com/", "gvt1.com/"].iter().any(|own| url.contains(own))
        })
        .collect();
    urls.sort();
    urls.dedup();
    urls
}

/// A page that shows another one at the widths of phones and tablets, and then how far beyond its
/// frame each is.
fn measuring(html: &str) -> String {
    let json = serde_json::to_string(html).unwrap().replace("</", "<\\/");
    format!(
        "<!doctype html><title>frame</title><body><script>
        const page = {json}, widths = [320, 360, 412, 800], beyond = [];
        function next() {{
            if (beyond.length === widths.length) {{
                document.body.textContent = 'too wide by: ' + beyond.join(' ');
                return;
            }}
            const frame = document.createElement('iframe');
            frame.width = widths[beyond.length];
            frame.height = 600;
            frame.srcdoc = page;
            frame.onload = () => {{
                const shown = frame.contentDocument.documentElement;
                beyond.push(shown.scrollWidth - shown.clientWidth);
                frame.remove();
                next();
            }};
            document.body.append(frame);
        }}
        next();
        </script></body>"
    )
}
