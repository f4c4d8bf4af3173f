//! The documentation is true: every SQL example of every page runs and answers what the page says,
//! the table of settings is the server's, and nothing is named that does not exist.
//!
//! A page runs on a cluster of its own, its blocks in order, each in a psql session of its own as
//! superuser in database `postgres`. What the word behind a block's fence means:
//!
//! | fence | |
//! |---|---|
//! | `sql` | runs without an error; an `output` block right behind it is what psql prints |
//! | `sql eventually` | as before, asked again until the output is the one that follows |
//! | `sql crashes` | as `sql eventually`; then the server crashes, and is started again |
//! | `sql fails` | ends with an error; the `output` block that follows is that error |
//! | `sql no-run REASON` | is not run; the reason is for the reader of the page's source |
//! | `ini` | lines of `postgresql.conf`, in force on the page's cluster |
//!
//! The extension is there from the start unless the page creates it.
#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a page that breaks an expectation is a failed test, and has to say so at once"
)]

use pg_tock_core::options::{Kind, OPTIONS};
use pg_tock_test::{Cluster, PATIENCE, poll_until};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// Pages with examples. `pages_with_examples_are_run` compares this with what there is.
const EXAMPLES: [&str; 10] = [
    "README.md",
    "docs/control.md",
    "docs/differences-from-pg_cron.md",
    "docs/ending-runs.md",
    "docs/http.md",
    "docs/inside-a-job.md",
    "docs/moving-from-pg_cron.md",
    "docs/operations.md",
    "docs/reliability.md",
    "docs/schedules.md",
];

#[test]
fn examples_of_the_readme() {
    run_page("README.md");
}

#[test]
fn examples_of_control() {
    run_page("docs/control.md");
}

#[test]
fn examples_of_differences_from_pg_cron() {
    run_page("docs/differences-from-pg_cron.md");
}

#[test]
fn examples_of_ending_runs() {
    run_page("docs/ending-runs.md");
}

#[test]
fn examples_of_http() {
    run_page("docs/http.md");
}

#[test]
fn examples_of_inside_a_job() {
    run_page("docs/inside-a-job.md");
}

#[test]
fn examples_of_moving_from_pg_cron() {
    run_page("docs/moving-from-pg_cron.md");
}

#[test]
fn examples_of_operations() {
    run_page("docs/operations.md");
}

#[test]
fn examples_of_reliability() {
    run_page("docs/reliability.md");
}

#[test]
fn examples_of_schedules() {
    run_page("docs/schedules.md");
}

#[test]
fn pages_with_examples_are_run() {
    let found: Vec<String> = pages()
        .into_iter()
        .filter(|page| blocks(page).iter().any(|block| block.is("sql")))
        .collect();
    assert_eq!(found, EXAMPLES);
}

#[test]
fn the_table_of_settings_is_the_servers() {
    let cluster = Cluster::start();
    let known = cluster.rows(
        "select name, vartype, boot_val || coalesce(' ' || unit, ''), context \
         from pg_settings where name like 'cron.%'",
        &[],
    );
    let known: BTreeMap<String, [String; 3]> =
        known.iter().map(|row| (row.get(0), [row.get(1), row.get(2), row.get(3)])).collect();
    assert!(known.len() >= 11, "pg_cron alone has eleven: {known:#?}");
    let text = text_of("README.md");
    let section = text.split("\n## ").find(|section| section.starts_with("Settings\n"));
    let section = section.expect("a section on settings");
    let mut written = BTreeMap::new();
    for line in section.lines().filter(|line| line.starts_with("| `cron.")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [name, kind, default, context, meaning] = cells[..] else {
            panic!("a setting has five columns: {line}");
        };
        assert!(meaning.len() > 10, "a setting has a meaning: {line}");
        let values = [kind, default, context].map(|cell| cell.replace('`', ""));
        written.insert(name.replace('`', ""), values);
    }
    assert_eq!(written, known, "the README's table (left) and pg_settings (right)");
}

/// What the table of options says of one: what it takes, and what its bounds begin with.
fn takes(kind: Kind) -> (&'static str, String) {
    match kind {
        Kind::Text => ("text", "not empty".to_owned()),
        Kind::Name => ("text", "not empty, at most 1,000 bytes".to_owned()),
        Kind::Remark => ("text", "may be empty".to_owned()),
        Kind::Flag => ("true or false", String::new()),
        Kind::Word(words) => ("word", format!("`{}`", words.join("`, `"))),
        Kind::Span(most) => ("interval", format!("0 to {} days", grouped(most / 86_400_000_000))),
        Kind::Texts => ("list of texts", String::new()),
        Kind::TimeZone => ("time zone", String::new()),
        Kind::Window => ("run window", String::new()),
        Kind::Count(least, most) => {
            ("whole number", format!("{} to {}", grouped(least), grouped(most)))
        }
        Kind::Factor(least, most) => ("number", format!("{} to {}", grouped(least), grouped(most))),
        Kind::Times(most) => ("number", format!("0, or 1 to {}", grouped(most))),
        Kind::Settings => ("object", String::new()),
    }
}

/// A whole number with a comma before each three digits.
fn grouped(number: impl std::fmt::Display) -> String {
    let digits = number.to_string();
    let (first, rest) = digits.split_at(digits.len().saturating_sub(3));
    if first.is_empty() || first == "-" { digits } else { format!("{},{rest}", grouped(first)) }
}

#[test]
fn the_table_of_options_is_the_codes_and_the_servers() {
    let text = text_of("docs/control.md");
    let section = text.split("\n## ").find(|section| section.starts_with("All options\n"));
    let lines = section.expect("all options").lines().filter(|line| line.starts_with("| `"));
    let rows: Vec<Vec<&str>> =
        lines.map(|line| line[1..line.len() - 1].split('|').map(str::trim).collect()).collect();
    let names: Vec<String> = rows.iter().map(|row| row[0].replace('`', "")).collect();
    assert_eq!(names, OPTIONS.iter().map(|option| option.name).collect::<Vec<_>>());
    let cluster = Cluster::start();
    for (option, row) in OPTIONS.iter().zip(&rows) {
        let (kind, bounds) = takes(option.kind);
        assert_eq!(row[1], kind, "{row:?}");
        let left = row[2].strip_prefix(bounds.as_str());
        let left = left.unwrap_or_else(|| panic!("{row:?} has bounds {bounds}"));
        assert!(bounds.is_empty() || left.is_empty() || left.starts_with("; "), "{row:?}");
        assert_eq!(row[3] == "required", option.required, "{row:?}");
        let setting = match option.name {
            "timezone" => "cron.timezone".to_owned(),
            name => format!("cron.default_{name}"),
        };
        let found = cluster.rows(
            "select vartype, boot_val, coalesce(unit, '') from pg_settings where name = $1",
            &[&setting],
        );
        let Some(found) = found.first() else {
            assert_eq!(row[4], "", "there is no {setting}");
            continue;
        };
        assert_eq!(row[4], format!("`{setting}`"), "{row:?}");
        let (of, value, unit) =
            (found.get::<_, String>(0), found.get::<_, String>(1), found.get::<_, String>(2));
        let default = match (of.as_str(), kind) {
            ("integer", "interval") => cluster.one_with::<bool>(
                "select $1::text::interval = $2::text::interval",
                &[&row[3], &format!("{value} {unit}")],
            ),
            ("bool", _) => (row[3] == "true") == (value == "on"),
            // There is no number for this one.
            _ if option.name == "max_concurrency" => row[3] == "no limit" && value == "0",
            _ if value.is_empty() => row[3] == "none",
            _ => row[3] == value,
        };
        assert!(default, "{row:?}: {setting} is {value} {unit}");
    }
}

#[test]
fn everything_named_exists() {
    let cluster = Cluster::start();
    let known: BTreeSet<String> = cluster
        .column::<String>(
            "select relname::text from pg_class where relnamespace = 'cron'::regnamespace \
             union select proname::text from pg_proc where pronamespace = 'cron'::regnamespace \
             union select substr(name, 6) from pg_settings where name like 'cron.%'",
        )
        .into_iter()
        .collect();
    let mut named = 0;
    for page in pages() {
        for (number, line) in text_of(&page).lines().enumerate() {
            for name in names_in(line) {
                named += 1;
                let at = number + 1;
                assert!(known.contains(name), "{page}:{at} names cron.{name}, which is nothing");
            }
        }
    }
    assert!(named > 50, "the pages name {named} objects: are they read at all?");
}

#[test]
fn links_between_pages_lead_somewhere() {
    let mut followed = 0;
    for page in pages() {
        let text = text_of(&page);
        let here = in_this_repository(&page);
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = target.split('#').next().unwrap_or_default();
            if path.is_empty() || path.contains("://") {
                continue;
            }
            followed += 1;
            let file = here.parent().expect("a page is in a directory").join(path);
            assert!(file.exists(), "{page} links to {target}, which does not exist");
        }
    }
    assert!(followed > 5, "{followed} links: are they found at all?");
}

/// One fenced block of a page.
#[derive(Debug)]
struct Block {
    line: usize,
    language: String,
    /// The word behind the language; empty if there is none.
    word: String,
    text: String,
}

impl Block {
    fn is(&self, language: &str) -> bool {
        self.language == language
    }
}

fn in_this_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

fn text_of(page: &str) -> String {
    fs::read_to_string(in_this_repository(page)).unwrap_or_else(|error| panic!("{page}: {error}"))
}

/// The pages: those in the root and in `docs`, sorted by path.
fn pages() -> Vec<String> {
    let mut pages = Vec::new();
    for dir in ["", "docs/"] {
        for entry in fs::read_dir(in_this_repository(dir)).expect("a directory of pages") {
            let name = entry.expect("an entry").file_name().into_string().expect("a name in UTF-8");
            if Path::new(&name).extension().is_some_and(|extension| extension == "md") {
                pages.push(format!("{dir}{name}"));
            }
        }
    }
    pages.sort();
    pages
}

fn blocks(page: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut inside = false;
    // In a list a block is indented, and its lines by as much.
    let mut indent = 0;
    for (number, line) in text_of(page).lines().enumerate() {
        if let Some(info) = line.trim_start().strip_prefix("```") {
            inside = !inside;
            if inside {
                indent = line.len() - line.trim_start().len();
                let mut words = info.split_whitespace();
                let mut word = || words.next().unwrap_or_default().to_owned();
                let (language, word) = (word(), word());
                blocks.push(Block { line: number + 1, language, word, text: String::new() });
            }
        } else if inside {
            let block = blocks.last_mut().expect("a block was opened");
            block.text.push_str(line.get(indent..).unwrap_or_default());
            block.text.push('\n');
        }
    }
    assert!(!inside, "{page}: the last block is not closed");
    blocks
}

/// What follows `cron.` where that begins a name, up to the next sign that is no part of it.
fn names_in(line: &str) -> impl Iterator<Item = &str> {
    line.match_indices("cron.").filter_map(move |(at, prefix)| {
        let before = line[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '/' | '.')) {
            return None;
        }
        let rest = &line[at + prefix.len()..];
        let end = rest.find(|c: char| !c.is_ascii_lowercase() && c != '_').unwrap_or(rest.len());
        Some(&rest[..end]).filter(|name| !name.is_empty())
    })
}

/// Runs every example of a page.
fn run_page(page: &str) {
    let blocks = blocks(page);
    let cluster = cluster_for(page, &blocks);
    let mut ran = 0;
    for (at, block) in blocks.iter().enumerate().filter(|(_, block)| block.is("sql")) {
        let expected = blocks.get(at + 1).filter(|next| next.is("output"));
        let place = format!("{page}:{}", block.line);
        let need = || expected.unwrap_or_else(|| panic!("{place}: an output block has to follow"));
        match block.word.as_str() {
            "" => {
                let (succeeded, printed, complaints) = psql(&cluster, &block.text);
                assert!(succeeded, "{place}\n{}\n{complaints}", block.text);
                if let Some(expected) = expected {
                    assert_same(&place, &printed, &expected.text);
                }
            }
            "eventually" => eventually(&cluster, &place, &block.text, &need().text),
            "crashes" => {
                eventually(&cluster, &place, &block.text, &need().text);
                // What was seen may not be on disk yet.
                cluster.sql("checkpoint");
                cluster.crash();
                cluster.boot();
                cluster.wait_scheduler();
            }
            "fails" => {
                let (succeeded, _, complaints) = psql(&cluster, &block.text);
                assert!(!succeeded, "{place} does not fail:\n{}", block.text);
                assert_same(&place, &complaints, &need().text);
            }
            "no-run" => continue,
            other => panic!("{place}: what does \"{other}\" mean?"),
        }
        ran += 1;
    }
    assert!(ran > 0, "{page} has no example that runs");
    let log = cluster.log();
    // That a run is stuck, that there is an alert, and what died in a crash is what a page may be about.
    let meant = [
        " is stuck",
        "pg_tock: alert: ",
        "pg_tock: recovered: ",
        "pg_tock: alert over, ",
        " did not survive the last stop of the server",
    ];
    let complains =
        |line: &&str| line.contains("pg_tock: ") && !meant.iter().any(|words| line.contains(words));
    let complaints: Vec<&str> = log.lines().filter(complains).collect();
    assert!(complaints.is_empty(), "{page} makes the scheduler complain: {complaints:#?}");
}

fn cluster_for(page: &str, blocks: &[Block]) -> Cluster {
    let mut builder = Cluster::builder().conf("timezone", "UTC");
    for line in blocks.iter().filter(|block| block.is("ini")).flat_map(|block| block.text.lines()) {
        let line = line.split('#').next().unwrap_or_default().trim();
        if let Some((name, value)) = line.split_once('=') {
            builder = builder.conf(name.trim(), value.trim().trim_matches('\''));
        }
    }
    let creates = |block: &Block| {
        block.is("sql") && block.word.is_empty() && block.text.contains("CREATE EXTENSION pg_tock")
    };
    if blocks.iter().any(creates) {
        builder = builder.without_extension();
    }
    let cluster = builder.start();
    let wrong: Vec<String> = cluster
        .column("select name || ': ' || error from pg_file_settings where error is not null");
    assert_eq!(wrong, Vec::<String>::new(), "settings of {page}");
    cluster
}

/// Runs a script: whether it succeeded, what it printed, and what it complained about.
fn psql(cluster: &Cluster, script: &str) -> (bool, String, String) {
    let mut child = cluster
        .tool("psql")
        .args(["-X", "-q", "-v", "ON_ERROR_STOP=1"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("psql starts");
    let mut input = child.stdin.take().expect("psql's input");
    input.write_all(script.as_bytes()).expect("psql reads the script");
    drop(input);
    let done = child.wait_with_output().expect("psql ends");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (done.status.success(), text(&done.stdout), text(&done.stderr))
}

/// Asks again until the answer is the expected one; shows the last answer if that never happens.
fn eventually(cluster: &Cluster, place: &str, script: &str, expected: &str) {
    let mut last = String::new();
    let asked = std::panic::AssertUnwindSafe(|| {
        poll_until(&format!("the output at {place}"), PATIENCE, || {
            let (succeeded, printed, complaints) = psql(cluster, script);
            assert!(succeeded, "{place}\n{script}\n{complaints}");
            last = printed;
            (tidy(&last) == tidy(expected)).then_some(())
        });
    });
    if std::panic::catch_unwind(asked).is_err() {
        assert_same(place, &last, expected);
    }
}

/// A text without the blanks at the ends of its lines and the empty lines around it.
fn tidy(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines.join("\n").trim_matches('\n').to_owned()
}

fn assert_same(place: &str, printed: &str, expected: &str) {
    let (printed, expected) = (tidy(printed), tidy(expected));
    assert!(printed == expected, "{place} prints\n{printed}\nand not\n{expected}");
}
