//! The page, read by a browser's parser: whatever users have written, it stays text.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../../../pg_test/support/src/page.rs"]
#[allow(dead_code, unreachable_pub)]
mod page;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use page::Page;
use pg_tock_core::report::{
    Collector, Coming, Failure, Heading, Job, Level, Limits, Report, Run, Skip, Span, page::html,
};
use pg_tock_core::run::Outcome;
use pg_tock_core::schedule::Zone;
use pg_tock_core::time::Timestamp;
use proptest::prelude::*;
use sha2::{Digest, Sha256};

/// What people try.
const HOSTILE: [&str; 10] = [
    "</script><script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "' onmouseover='alert(1)",
    "--><svg/onload=alert(1)>",
    "</title></style></textarea></pre><iframe src=//evil.example>",
    "&lt;b&gt; &#60; &amp;amp; &#x3c;",
    "\u{202e}txt.exe\u{2066}\u{200b}\u{feff}",
    "\u{0}\u{1}\u{8}\u{1b}[2J\u{7f}\u{9b}\r\n\t",
    "]]><![CDATA[<x>",
    "{{7*7}} ${7*7} javascript:alert(1) https://evil.example/",
];

/// A report in which every text is this one.
fn report(written: &str) -> Report {
    let until = Timestamp::from_secs(1_795_262_400);
    let span = Span { from: until.plus(-86_400 * Timestamp::SECOND), until };
    let job = Job {
        id: 1,
        name: Some(written.to_owned()),
        owner: written.to_owned(),
        database: written.to_owned(),
        schedule: written.to_owned(),
        zone: written.to_owned(),
        state: written.to_owned(),
        next: Some(until.plus(1)),
        expected: None,
    };
    let mut collector = Collector::new(span, vec![job.clone()], Limits::of(1));
    let started = until.plus(-3_600 * Timestamp::SECOND);
    let run = Run { id: 7, started, ended: Some(started.plus(5)), outcome: Some(Outcome::Crashed) };
    collector.run(1, run);
    collector.settle();
    collector
        .show_skip(1, Skip { reason: written.to_owned(), first: started, last: started, count: 1 });
    let heading = Heading {
        database: written.to_owned(),
        role: written.to_owned(),
        version: written.to_owned(),
        span,
        zone: Zone::utc(),
        level: Level::Critical,
        reasons: vec![written.to_owned()],
    };
    let failure = Failure {
        run: 7,
        job: 1,
        started,
        outcome: Outcome::Crashed,
        reason: Some(written.to_owned()),
        sqlstate: Some(written.to_owned()),
        attempt: 1,
        message: written.to_owned(),
    };
    collector.report(heading, vec![failure], vec![Coming { job, starts: vec![until.plus(1)] }])
}

#[test]
fn hostile_texts_stay_text() {
    for written in HOSTILE {
        let html = html(&report(written));
        let page = Page::read(&html);
        assert_eq!(page.complaints(), Vec::<String>::new(), "{written:?}\n{html}");
    }
}

#[test]
fn texts_are_shown_as_they_were_written() {
    let page = Page::read(&html(&report("Größe <b> & \"co\" 'x' 日本 → 🦀")));
    for element in ["bdi", "pre", "code"] {
        let texts = page.texts_of(element);
        let whole = |text: &String| text == "Größe <b> & \"co\" 'x' 日本 → 🦀";
        // SQLSTATEs are five letters, and more than ten are not shown.
        assert!(texts.iter().any(whole), "{element}: {texts:?}");
    }
}

#[test]
fn the_checker_finds_what_it_looks_for() {
    let good = html(&report("plain"));
    for (from, to) in [
        ("<h2>", "<script>1</script><h2>"),
        ("<h1>", "<h1 onclick=\"1\">"),
        ("data:,", "https://example.org/favicon.ico"),
        ("body{", "body{background:url(x.png);"),
        ("default-src 'none'", "default-src *"),
        ("</h1>", ""),
        ("<h1>", "<h1><div>"),
        ("Jobs of", "J\u{f6}bs of"),
        ("<main>", "<main><!-- -->"),
    ] {
        let bad = good.replacen(from, to, 1);
        assert_ne!(good, bad, "{from}");
        assert!(!Page::read(&bad).complaints().is_empty(), "{to}");
    }
}

#[test]
fn the_policy_allows_this_style_sheet_and_nothing_else() {
    let page = Page::read(&html(&report("plain")));
    let [style] = &page.texts_of("style")[..] else { panic!("one style sheet") };
    let hash = STANDARD.encode(Sha256::digest(style.as_bytes()));
    let expected = format!(
        "default-src 'none'; style-src 'sha256-{hash}'; img-src data:; base-uri 'none'; form-action 'none'"
    );
    assert_eq!(page.policy(), expected);
}

proptest! {
    #[test]
    fn any_text_stays_text(written in "\\PC{0,40}|[<>&\"'/!=a-z \\-\\x00-\\x1f\u{202a}-\u{202e}]{0,60}") {
        prop_assert_eq!(Page::read(&html(&report(&written))).complaints(), Vec::<String>::new());
    }
}
