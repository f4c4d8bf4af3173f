use serde_json::{Value as Json, json};

use super::*;
use crate::options::{Interval, OPTIONS, Server};

/// A server that knows Berlin, and reads intervals as we write them.
struct Fake;

impl Server for Fake {
    fn interval(&self, text: &str) -> Result<Interval, String> {
        let problem = || format!("\"{text}\" is not an interval");
        let mut read = Interval::default();
        let words: Vec<&str> = text.split(' ').collect();
        for pair in words.chunks(2) {
            let [count, unit] = pair else { return Err(problem()) };
            let unit = match unit.trim_end_matches('s') {
                "month" => {
                    read.months = 1;
                    continue;
                }
                "day" => 86_400_000_000,
                "hour" => 3_600_000_000,
                "minute" => 60_000_000,
                "second" => 1_000_000,
                _ => return Err(problem()),
            };
            let (whole, fraction) = count.split_once('.').unwrap_or((count, ""));
            let number = |digits: &str| digits.parse::<i64>().map_err(|_| problem());
            read.micros += number(whole)? * unit;
            read.micros += number(&format!("{fraction:0<6}"))? * unit / 1_000_000;
        }
        Ok(read)
    }

    fn has_zone(&self, name: &str) -> bool {
        name == "Europe/Berlin"
    }
}

const SITE: Site<'static> = Site { owner: "ann", database: "postgres" };

fn read_it(document: Json) -> Result<Manifest, Flaw> {
    read(document, &Fake, SITE)
}

/// The jobs of a document of this list.
fn jobs(list: Json) -> Vec<Entry> {
    let manifest = read_it(json!({"jobs": list})).expect("a document");
    manifest.jobs.into_iter().map(|job| job.entry).collect()
}

fn existing(list: Json) -> Vec<Existing> {
    let numbered = (1..).zip(jobs(list));
    numbered.map(|(id, entry)| Existing { id, entry, node: None }).collect()
}

/// What has to be done, as `create a.schedule: - > @daily`.
fn changes(wanted: Json, there: Json, prune: bool) -> Vec<String> {
    let (wanted, there) = (jobs(wanted), existing(there));
    let wanted: Vec<&Entry> = wanted.iter().collect();
    let mut lines = Vec::new();
    for change in compare(&wanted, &there, |_| prune) {
        let new = change.wanted.map(|place| wanted[place]);
        let old = change.existing.map(|place| &there[place]);
        let name = new.or(old.map(|old| &old.entry)).and_then(|entry| entry.name.clone());
        let id = old.map(|old| format!("#{} ", old.id)).unwrap_or_default();
        for field in change.fields {
            lines.push(format!(
                "{} {id}{}.{}: {} > {}",
                change.action.as_str(),
                name.as_deref().unwrap_or("?"),
                field.name,
                field.old.as_deref().unwrap_or("-"),
                field.new.as_deref().unwrap_or("-"),
            ));
        }
    }
    lines
}

#[test]
fn what_means_the_same_is_the_same() {
    let one = jobs(json!([{
        "job_name": "a", "schedule": "@daily", "command": "x", "timeout": "90 seconds",
        "active": true, "database": "postgres", "username": "ann", "tags": [], "settings": {},
        "retry_backoff": 2.0, "description": null,
    }]));
    let other = jobs(json!([{
        "job_name": "a", "schedule": "@daily", "command": "x", "timeout": "1 minute 30 seconds",
        "retry_backoff": 2,
    }]));
    assert_eq!(one, other);
    assert_eq!(
        write(one, None, false).to_string(),
        json!({"version": 1, "jobs": [{
            "job_name": "a", "schedule": "@daily", "command": "x", "retry_backoff": 2,
            "timeout": "1 minute 30 seconds",
        }]})
        .to_string()
    );
}

#[test]
fn a_request_stands_in_place_of_the_command() {
    let given = json!([{
        "job_name": "call", "schedule": "@hourly", "url": "https://h/{{secret:a}}",
        "method": "post", "body": {"a": 1}, "follow_redirects": false,
        "headers": {"authorization": "Bearer {{secret:token}}"},
    }]);
    let entry = jobs(given).remove(0);
    assert_eq!(
        entry.to_json(true),
        json!({
            "job_name": "call", "username": "ann", "schedule": "@hourly",
            "url": "https://h/{{secret:a}}", "body": "{\"a\":1}",
            "headers": {"authorization": "Bearer {{secret:token}}"},
        })
    );
    let again = jobs(json!([entry.to_json(true)]));
    assert_eq!(again, [entry]);
}

#[test]
fn jobs_are_written_in_one_order() {
    let list = json!([
        {"job_name": null, "schedule": "@daily", "command": "y"},
        {"job_name": "b", "schedule": "@daily", "command": "x"},
        {"job_name": "B", "schedule": "@daily", "command": "x"},
        {"job_name": "b", "schedule": "@daily", "command": "x", "username": "a"},
        {"job_name": null, "schedule": "@daily", "command": "x"},
    ]);
    let document = write(jobs(list), Some(&["z".to_owned(), "a".to_owned(), "z".to_owned()]), true);
    let order: Vec<String> = document["jobs"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|job| format!("{} {} {}", job["job_name"], job["username"], job["command"]))
        .collect();
    assert_eq!(
        order,
        [
            r#""B" "ann" "x""#,
            r#""b" "a" "x""#,
            r#""b" "ann" "x""#,
            r#"null "ann" "x""#,
            r#"null "ann" "y""#
        ]
    );
    assert_eq!(document["tags"], json!(["a", "z"]));
    assert_eq!(document["all_owners"], json!(true));
}

#[test]
fn every_flaw_says_where_it_is() {
    let job = |more: Json| {
        let mut job = json!({"job_name": "a", "schedule": "@daily", "command": "x"});
        for (key, value) in more.as_object().expect("an object") {
            job[key] = value.clone();
        }
        json!({"jobs": [{"job_name": "z", "schedule": "@daily", "command": "x"}, job]})
    };
    for (document, message) in [
        (json!([]), "$: it must be an object, not a list"),
        (json!({}), "$: it has no key \"jobs\""),
        (json!({"jobs": {}}), "$.jobs: it must be a list, not an object"),
        (json!({"jobs": [], "version": 2}), "$.version: version 2 is not known"),
        (json!({"jobs": [], "Job s": 1}), "$.\"Job s\": there is no key \"Job s\""),
        (json!({"jobs": [], "tags": []}), "$.tags: it must not be empty"),
        (json!({"jobs": [], "tags": ["a", 1]}), "$.tags[1]: it must be a text, not a number"),
        (
            json!({"jobs": [], "all_owners": "x"}),
            "$.all_owners: it must be true or false, not a text",
        ),
        (json!({"jobs": [1]}), "$.jobs[0]: it must be an object, not a number"),
        (json!({"jobs": [{}]}), "$.jobs[0]: it has no key \"job_name\""),
        (
            json!({"jobs": [{"job_name": "a", "command": "x"}]}),
            "$.jobs[0]: option \"schedule\" must have a value",
        ),
        (job(json!({"job_name": " "})), "$.jobs[1].job_name: job_name must not be empty"),
        (job(json!({"job_name": "z"})), "$.jobs[1].job_name: job \"z\" is there twice"),
        (
            job(json!({"job_name": 1})),
            "$.jobs[1].job_name: it must be a text or null, not a number",
        ),
        (job(json!({"timzone": "x"})), "$.jobs[1].timzone: unknown option \"timzone\""),
        (
            job(json!({"retry_delay": "1 month"})),
            "$.jobs[1].retry_delay: invalid value for option \"retry_delay\": \"1 month\" has months or years",
        ),
        (
            job(json!({"tags": ["a", 7]})),
            "$.jobs[1].tags[1]: option \"tags\" must be a list of texts",
        ),
        (job(json!({"tags": "a"})), "$.jobs[1].tags: option \"tags\" must be a list of texts"),
        (
            job(json!({"settings": {"work_mem": "1MB", "app.x": null}})),
            "$.jobs[1].settings.\"app.x\": invalid value for option \"settings\": setting \"app.x\" is null",
        ),
        (
            job(json!({"on_overlap": "wait"})),
            "$.jobs[1].on_overlap: option \"on_overlap\" must be queue, skip, allow or replace",
        ),
        (
            job(json!({"url": "http://h/"})),
            "$.jobs[1].command: an HTTP job has no command of its own",
        ),
        (job(json!({"body": "x"})), "$.jobs[1].body: option \"body\" is for HTTP jobs"),
        (
            json!({"jobs": [], "tags": ["t"]})
                .as_object()
                .map(|top| {
                    let mut top = top.clone();
                    top.insert(
                        "jobs".to_owned(),
                        json!([{"job_name": "a", "schedule": "x", "command": "x"}]),
                    );
                    Json::Object(top)
                })
                .expect("an object"),
            "$.jobs[0]: it has none of the document's tags",
        ),
    ] {
        assert_eq!(read_it(document).unwrap_err().to_string(), message);
    }
    let url = json!({"jobs": [{"job_name": "a", "schedule": "x", "url": "ftp://h/"}]});
    let flaw = read_it(url).unwrap_err();
    assert!(flaw.to_string().starts_with("$.jobs[0].url: "), "{flaw}");
    assert!(flaw.hint().is_some());
}

#[test]
fn a_change_names_what_is_otherwise() {
    let there = json!([
        {"job_name": "a", "schedule": "@daily", "command": "x", "timeout": "60 seconds"},
        {"job_name": "b", "schedule": "@daily", "command": "x"},
        {"job_name": "c", "schedule": "@daily", "command": "x"},
    ]);
    let wanted = json!([
        {"job_name": "d", "schedule": "@daily", "command": "y", "tags": ["t"]},
        {"job_name": "c", "schedule": "@daily", "url": "https://h/"},
        {"job_name": "a", "schedule": "@weekly", "command": "x", "timeout": "1 minute"},
    ]);
    let kept = [
        "create d.username: - > ann",
        "create d.schedule: - > @daily",
        "create d.command: - > y",
        "create d.tags: - > [\"t\"]",
        "update #3 c.command: x > -",
        "update #3 c.url: - > https://h/",
        "update #1 a.schedule: @daily > @weekly",
    ];
    assert_eq!(changes(wanted.clone(), there.clone(), false), kept);
    let pruned = changes(wanted, there.clone(), true);
    assert_eq!(pruned[..7], kept);
    assert_eq!(
        pruned[7..],
        [
            "remove #2 b.username: ann > -",
            "remove #2 b.schedule: @daily > -",
            "remove #2 b.command: x > -"
        ]
    );
    assert_eq!(changes(there.clone(), there, true), [""; 0]);
}

#[test]
fn a_job_without_a_name_is_known_by_what_it_runs() {
    let there = json!([
        {"job_name": null, "schedule": "@hourly", "command": "x"},
        {"job_name": null, "schedule": "@daily", "command": "x"},
        {"job_name": null, "schedule": "@daily", "command": "y"},
    ]);
    assert_eq!(changes(there.clone(), there.clone(), true), [""; 0]);
    let wanted = json!([
        {"job_name": null, "schedule": "@weekly", "command": "x"},
        {"job_name": null, "schedule": "@hourly", "command": "x"},
        {"job_name": null, "schedule": "@daily", "command": "z"},
    ]);
    assert_eq!(
        changes(wanted, there, true),
        [
            "update #2 ?.schedule: @daily > @weekly",
            "create ?.username: - > ann",
            "create ?.schedule: - > @daily",
            "create ?.command: - > z",
            "remove #3 ?.username: ann > -",
            "remove #3 ?.schedule: @daily > -",
            "remove #3 ?.command: y > -",
        ]
    );
}

#[test]
fn a_job_of_another_server_becomes_one_of_this() {
    let mut there = existing(json!([{"job_name": "a", "schedule": "@daily", "command": "x"}]));
    there[0].node = Some("elsewhere".to_owned());
    let wanted = jobs(json!([{"job_name": "a", "schedule": "@daily", "command": "x"}]));
    let changes = compare(&[&wanted[0]], &there, |_| true);
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0].fields[0].name, "nodename");
}

#[test]
fn jobs_wait_for_jobs_that_will_be_there() {
    let others = jobs(json!([
        {"job_name": "c", "schedule": "@daily", "command": "x", "run_after": ["a"]},
        {"job_name": "d", "schedule": "@daily", "command": "x"},
    ]));
    let check = |wanted: Json| {
        let wanted = jobs(wanted);
        let (wanted, others): (Vec<_>, Vec<_>) = (wanted.iter().collect(), others.iter().collect());
        check_upstreams(&wanted, &others, |_, _| true)
    };
    let after = |name: &str, upstream: &[&str]| json!({"job_name": name, "schedule": "@daily", "command": "x", "run_after": upstream});
    // Whichever comes first.
    assert_eq!(check(json!([after("a", &["b", "d"]), after("b", &[])])), Ok(()));
    let missing = Upset { job: 0, item: 1, way: Vec::new() };
    assert_eq!(check(json!([after("a", &["d", "e"])])), Err(missing));
    let way = ["b", "c", "a"].map(str::to_owned).to_vec();
    let cycle = Upset { job: 0, item: 0, way };
    assert_eq!(check(json!([after("a", &["b"]), after("b", &["c"])])), Err(cycle));
}

#[test]
fn a_row_nobody_checked_is_taken_as_it_is() {
    let row = json!({
        "jobid": 7, "jobname": "a", "schedule": "nonsense", "command": "x", "username": "bob",
        "database": "postgres", "nodename": "localhost", "jitter": "1 mon", "active": false,
        "paused_until": "infinity", "on_missed": null,
    });
    let entry = Entry::of_row(row.as_object().expect("an object"), &Fake, SITE);
    assert_eq!(
        entry.to_json(true),
        json!({"job_name": "a", "username": "bob", "schedule": "nonsense", "command": "x",
            "jitter": "1 mon", "active": false})
    );
}

mod property {
    use proptest::prelude::*;
    use proptest::sample::{select, subsequence};

    use super::*;
    use crate::options::Kind;

    /// A value an option takes.
    fn value(name: &'static str, kind: Kind) -> BoxedStrategy<Json> {
        let text = "[ -~äß\n]{0,12}x";
        match kind {
            Kind::Text if name == "username" => {
                select(vec!["ann", "bob"]).prop_map(Json::from).boxed()
            }
            Kind::Text | Kind::Name => text.prop_map(Json::from).boxed(),
            Kind::Remark => ".{0,12}".prop_map(Json::from).boxed(),
            Kind::Flag => any::<bool>().prop_map(Json::from).boxed(),
            Kind::Word(words) => select(words).prop_map(Json::from).boxed(),
            Kind::Span(most) => (0..=most)
                .prop_flat_map(|most| (0..=most, Just(most)))
                .prop_map(|(some, most)| {
                    // Both long and short ones, and such of whole seconds.
                    let micros = [some, most, some / 1_000_000_000, some - some % 1_000_000];
                    let micros = micros[usize::try_from(some % 4).unwrap_or(0)];
                    format!("{}.{:06} seconds", micros / 1_000_000, micros % 1_000_000).into()
                })
                .boxed(),
            Kind::Texts => {
                subsequence(vec!["a", "b \"c\"", "ü"], 0..=3).prop_map(Json::from).boxed()
            }
            Kind::TimeZone => Just(json!("Europe/Berlin")).boxed(),
            Kind::Window => Just(json!("mon-fri 09:00-17:00")).boxed(),
            Kind::Count(least, most) => (least..=most).prop_map(Json::from).boxed(),
            Kind::Factor(least, most) => prop_oneof![
                (least..=most).prop_map(Json::from),
                (least..=most).prop_map(|factor| factor.round().into()),
            ]
            .boxed(),
            Kind::Times(most) => {
                prop_oneof![Just(json!(0)), (1.0..=most).prop_map(Json::from)].boxed()
            }
            Kind::Settings => {
                select(vec![json!({}), json!({"work_mem": "64MB", "a.b": 1.5, "c": true})]).boxed()
            }
        }
    }

    fn any_job() -> impl Strategy<Value = Json> {
        let options: Vec<BoxedStrategy<(&'static str, Option<Json>)>> = OPTIONS
            .iter()
            .map(|option| {
                let (name, value) = (option.name, value(option.name, option.kind));
                let value = match option.required {
                    true => value.prop_map(Some).boxed(),
                    false => proptest::option::weighted(0.3, value).boxed(),
                };
                value.prop_map(move |value| (name, value)).boxed()
            })
            .collect();
        let request = proptest::option::weighted(0.3, (any::<bool>(), ".{0,9}"));
        (options, request, "[a-c]?").prop_map(|(options, request, name)| {
            let mut job = json!({"job_name": if name.is_empty() { None } else { Some(name) }});
            for (name, value) in options {
                job[name] = value.unwrap_or_default();
            }
            // What does not go together is refused, which is not what this is about.
            if job["max_concurrency"] != Json::Null {
                job["on_overlap"] = "allow".into();
            }
            if job["retry_delay"] != Json::Null {
                job["retry_max_delay"] = Json::Null;
            }
            if job["skip_on"] != Json::Null {
                job["only_on"] = Json::Null;
            }
            if job["stuck_after"] == "0.000000 seconds" {
                job["on_stuck"] = Json::Null;
            }
            if let Some((put, body)) = request {
                job["command"] = Json::Null;
                job["url"] = "https://h/{{secret:x}}".into();
                job["method"] = if put { "PUT".into() } else { Json::Null };
                // Nor is this about placeholders.
                job["body"] = body.replace('{', "(").into();
            }
            job
        })
    }

    proptest! {
        #[test]
        fn what_was_written_reads_as_the_same(job in any_job()) {
            let first = read_it(json!({"jobs": [job]})).expect("a document");
            let entry = first.jobs[0].entry.clone();
            let document = write(vec![entry.clone()], None, true);
            let again = read_it(document.clone()).expect("what was written");
            prop_assert_eq!(&again.jobs[0].entry, &entry);
            let text = write(vec![again.jobs[0].entry.clone()], None, true).to_string();
            prop_assert_eq!(text, document.to_string());
            let there = [Existing { id: 1, entry: entry.clone(), node: None }];
            prop_assert!(compare(&[&again.jobs[0].entry], &there, |_| true).is_empty());
        }

        #[test]
        fn any_document_is_read_or_refused(text in "\\PC*", place in 0_usize..4) {
            let mut job = json!({"job_name": "a", "schedule": "@daily", "command": "x"});
            let key = ["schedule", "jitter", "tags", "settings"][place];
            job[key] = serde_json::from_str(&text).unwrap_or(Json::String(text));
            if let Err(flaw) = read_it(json!({"jobs": [job]})) {
                prop_assert!(flaw.to_string().starts_with("$.jobs[0]"), "{}", flaw);
            }
        }
    }
}
