use super::*;
use crate::quote::SHOWN;
use crate::retry::RetryOn;
use crate::run::{MissedPolicy, OnStuck, Overlap};
use serde_json::json;

/// A server that knows Berlin, and reads `N seconds`, `N days` and `N months`.
struct Fake;

impl Server for Fake {
    fn interval(&self, text: &str) -> Result<Interval, String> {
        let problem = || format!("\"{text}\" is not an interval");
        let (count, unit) = text.split_once(' ').ok_or_else(problem)?;
        let count: i32 = count.parse().map_err(|_| problem())?;
        Ok(match unit {
            "seconds" => Interval { micros: i64::from(count) * 1_000_000, ..Interval::default() },
            "days" => Interval { days: count, ..Interval::default() },
            "months" => Interval { months: count, ..Interval::default() },
            _ => return Err(problem()),
        })
    }

    fn has_zone(&self, name: &str) -> bool {
        name.eq_ignore_ascii_case("europe/berlin")
    }
}

fn document(value: Json) -> Document {
    match value {
        Json::Object(object) => object,
        other => panic!("{other} is no object"),
    }
}

fn read(mut given: Json) -> Result<Options, OptionError> {
    for required in ["schedule", "command"] {
        if given.get(required).is_none() {
            given[required] = json!("x");
        }
    }
    Options::read(document(given), &Fake)
}

#[test]
fn options_are_read_by_type() {
    let options = read(json!({
        "active": false, "timezone": "Europe/Berlin", "tags": ["a", "b"], "dst_policy": "wall",
        "jitter": "90 seconds", "missed_window": "2 days", "description": "", "on_missed": "once",
        "run_window": "mon-fri 09:00-17:00", "skip_on": [], "only_on": null,
    }))
    .unwrap();
    assert_eq!(options.flag("active"), Some(false));
    assert_eq!(options.text("timezone"), Some("Europe/Berlin"));
    assert_eq!(options.texts("tags"), ["a", "b"]);
    assert_eq!(options.text("dst_policy"), Some("wall"));
    assert_eq!(options.span("jitter"), Some(90_000_000));
    assert_eq!(options.span("missed_window"), Some(2 * 86_400_000_000));
    assert_eq!(options.text("description"), Some(""));
    assert_eq!(options.text("run_window"), Some("mon-fri 09:00-17:00"));
    assert!(options.texts("skip_on").is_empty());
    for absent in ["skip_on", "only_on", "username", "database"] {
        assert!(!options.document().contains_key(absent), "{absent}");
    }
    // Another type than asked for is no value.
    assert_eq!(options.text("active"), None);
    assert_eq!(options.flag("jitter"), None);
    assert_eq!(options.span("tags"), None);
    assert!(options.texts("jitter").is_empty());
}

#[test]
fn words_are_those_of_the_core() {
    let words = |name: &str| match spec(name).map(|spec| spec.kind) {
        Some(Kind::Word(words)) => words,
        other => panic!("{other:?}"),
    };
    let policies: Vec<&str> = MissedPolicy::ALL.iter().map(|policy| policy.as_str()).collect();
    assert_eq!(words("on_missed"), policies);
    let overlaps: Vec<&str> = Overlap::ALL.iter().map(|overlap| overlap.as_str()).collect();
    assert_eq!(words("on_overlap"), overlaps);
    let on_stuck: Vec<&str> = OnStuck::ALL.iter().map(|word| word.as_str()).collect();
    assert_eq!(words("on_stuck"), on_stuck);
    for word in words("retry_on") {
        assert!(RetryOn::parse(word).is_some(), "{word}");
    }
}

#[test]
fn names_are_unique() {
    for (index, option) in OPTIONS.iter().enumerate() {
        assert!(OPTIONS[..index].iter().all(|other| other.name != option.name), "{option:?}");
    }
}

#[test]
fn a_patch_replaces_and_takes_away() {
    let before = document(json!({"jobid": 7, "tags": ["a"], "jitter": "5 seconds", "active": true,
        "only_on": null}));
    let after = merge(before, json!({"tags": null, "active": false, "skip_on": ["x"]})).unwrap();
    assert_eq!(
        Json::Object(after),
        json!({"jitter": "5 seconds", "active": false, "skip_on": ["x"]})
    );
}

#[test]
fn strangers_are_refused_with_the_list() {
    let error = merge(Document::new(), json!({"timzone": "UTC"})).unwrap_err();
    assert_eq!(error.to_string(), "unknown option \"timzone\"");
    let list = error.hint().unwrap();
    assert!(OPTIONS.iter().all(|option| list.contains(option.name)), "{list}");
    for (given, problem) in [
        (json!([]), "options must be an object, not a list"),
        (json!(null), "options must be an object, not null"),
        (json!(1), "options must be an object, not a number"),
    ] {
        let error = merge(Document::new(), given).unwrap_err();
        assert_eq!(error.to_string(), problem);
        assert_eq!(error.hint(), Some(list.clone()));
    }
}

#[test]
fn wrong_types_and_words_are_refused_with_what_the_option_takes() {
    for (name, value, expected) in [
        ("active", json!("yes"), "true or false"),
        ("tags", json!("a"), "a list of texts"),
        ("tags", json!(["a", 1]), "a list of texts"),
        ("jitter", json!(5), "an interval as text, such as \"10 minutes\""),
        ("on_missed", json!("never"), "skip, once or all"),
        ("dst_policy", json!(true), "cron or wall"),
        ("description", json!({}), "text"),
        ("timezone", json!(0), "the name of a time zone as text"),
        ("max_attempts", json!("3"), "a whole number"),
        ("max_attempts", json!(1.5), "a whole number"),
        ("retry_backoff", json!("2"), "a number"),
        ("settings", json!("work_mem=1MB"), "an object of settings and their values"),
        ("run_window", json!([]), "a run window as text, such as \"mon-fri 09:00-17:00\""),
    ] {
        let error = read(json!({ name: value })).unwrap_err();
        assert_eq!(error.to_string(), format!("option \"{name}\" must be {expected}"));
        let hint = error.hint().unwrap();
        assert!(!hint.contains("missed_window"), "{name}: {hint}");
        assert!(error.detail().unwrap().starts_with("The value given is "));
    }
}

#[test]
fn hints_say_what_the_option_takes() {
    for (name, value, hint) in [
        ("on_missed", json!("ONCE"), "Write it in lower case and without blanks: \"once\"."),
        ("on_missed", json!("never"), "It takes one of these words: skip, once, all."),
        ("active", json!("yes"), "Write true or false, without quotes."),
        ("tags", json!("a"), "Write a list such as [\"one\", \"two\"]."),
        ("jitter", json!(5), "Write an interval in quotes, of at most 7 days."),
        ("command", json!(1), "Write text in quotes."),
    ] {
        let error = read(json!({ name: value })).unwrap_err();
        assert_eq!(error.hint().as_deref(), Some(hint));
    }
}

#[test]
fn values_out_of_range_are_refused() {
    for (name, value, problem) in [
        ("command", json!(" \n"), "it is empty"),
        ("jitter", json!("soon"), "\"soon\" is not an interval"),
        ("jitter", json!("1 months"), "\"1 months\" has months or years"),
        ("jitter", json!("-1 seconds"), "\"-1 seconds\" is out of range"),
        ("jitter", json!("8 days"), "\"8 days\" is out of range"),
        ("missed_window", json!("2147483647 days"), "\"2147483647 days\" is out of range"),
        ("timezone", json!("Asia/Tokyo"), "time zone \"Asia/Tokyo\" is not known to the server"),
        ("timezone", json!("Mars/Olympus"), "time zone \"Mars/Olympus\" is not known"),
        ("tags", json!([" "]), "it has an item that is empty"),
        ("tags", json!(["a", "a"]), "it names \"a\" twice"),
        ("tags", json!(vec!["a"; 101]), "it has more than 100 items"),
        ("max_attempts", json!(0), "0 is out of range"),
        ("priority", json!(101), "101 is out of range"),
        ("max_concurrency", json!(5_000_000_000_i64), "5000000000 is out of range"),
        ("retry_backoff", json!(0.5), "0.5 is out of range"),
        ("settings", json!({"a b": 1}), "\"a b\" cannot be the name of a setting"),
        ("settings", json!({"": 1}), "\"\" cannot be the name of a setting"),
        ("settings", json!({"cron.log_run": false}), "\"cron.log_run\" cannot be set for a job"),
        ("alert_job", json!(" "), "it is empty"),
        ("alert_job", json!("x".repeat(1_001)), "it has more than 1000 bytes"),
        ("queue", json!("x".repeat(1_001)), "it has more than 1000 bytes"),
        ("tags", json!(["x".repeat(1_001)]), "it has an item of more than 1000 bytes"),
        ("settings", json!({"ROLE": "ann"}), "\"ROLE\" cannot be set for a job"),
        ("settings", json!({"is_superuser": "on"}), "\"is_superuser\" cannot be set for a job"),
        ("settings", json!({"work_mem": null}), "setting \"work_mem\" is null"),
        ("settings", json!({"a": "x\0"}), "setting \"a\" holds a NUL character"),
    ] {
        let error = read(json!({ name: value })).unwrap_err();
        let message = format!("invalid value for option \"{name}\": {problem}");
        assert_eq!(error.to_string(), message);
    }
    let error = read(json!({"run_window": "09:00-25:00"})).unwrap_err();
    assert!(error.to_string().ends_with("at character 7"), "{error}");
}

#[test]
fn what_has_no_default_must_be_there() {
    for given in [json!({"schedule": "x"}), json!({"schedule": "x", "command": null})] {
        let error = Options::read(document(given), &Fake).unwrap_err();
        assert_eq!(error, OptionError::Required("command"));
    }
}

#[test]
fn options_are_checked_together() {
    let error = read(json!({"skip_on": ["a", "b"], "only_on": ["c", "b"]})).unwrap_err();
    assert_eq!(
        error.to_string(),
        "options \"skip_on\" and \"only_on\" do not go together: both name calendar \"b\""
    );
    assert!(error.hint().is_some());
    let delays = |delay, most| read(json!({"retry_delay": delay, "retry_max_delay": most}));
    assert!(delays("10 seconds", "10 seconds").is_ok());
    assert_eq!(
        delays("11 seconds", "10 seconds").unwrap_err().to_string(),
        "options \"retry_delay\" and \"retry_max_delay\" do not go together: the longest delay is \
         shorter than the first"
    );
    for overlap in [json!("allow"), json!(null)] {
        assert!(read(json!({"max_concurrency": 2, "on_overlap": overlap})).is_ok());
    }
    assert!(read(json!({"max_concurrency": 2})).is_ok());
    for overlap in [json!("skip"), json!("queue"), json!("replace")] {
        let error = read(json!({"max_concurrency": 2, "on_overlap": overlap})).unwrap_err();
        assert!(error.to_string().contains("\"max_concurrency\" and \"on_overlap\""), "{error}");
    }
    // A default of the cluster may say when a run is stuck; 0 says never.
    assert!(read(json!({"on_stuck": "cancel"})).is_ok());
    assert!(read(json!({"on_stuck": "cancel", "stuck_after": "1 seconds"})).is_ok());
    assert!(read(json!({"on_stuck": "alert", "stuck_after": "0 seconds"})).is_ok());
    let error = read(json!({"on_stuck": "cancel", "stuck_after": "0 seconds"})).unwrap_err();
    assert_eq!(
        error.to_string(),
        "options \"on_stuck\" and \"stuck_after\" do not go together: with 0 no run ever counts as stuck"
    );
}

#[test]
fn what_is_stored_has_a_field_for_each_option() {
    let stored = |name: &str, value: Json| -> Stored {
        serde_json::from_value(json!({ name: value })).unwrap_or_default()
    };
    let apart = [
        "schedule",
        "command",
        "database",
        "username",
        "active",
        "timezone",
        "settings",
        "tags",
        "description",
        "alert_job",
        // The keeper reads these where they are.
        "keep_runs",
        "keep_days",
    ];
    for option in OPTIONS.iter().filter(|option| !apart.contains(&option.name)) {
        let value = match option.kind {
            Kind::Flag => json!(true),
            Kind::Texts => json!(["a"]),
            Kind::Span(_) | Kind::Count(..) => json!(3),
            Kind::Factor(..) | Kind::Times(_) => json!(1.5),
            _ => json!("a"),
        };
        assert_ne!(stored(option.name, value), Stored::default(), "{}", option.name);
    }
}

#[test]
fn long_values_are_cut_in_messages() {
    let error = read(json!({"jitter": vec!["x"; 99]})).unwrap_err();
    assert!(error.detail().unwrap().chars().count() < 120, "{error:?}");
    let error = merge(Document::new(), json!({"ü".repeat(500): 1})).unwrap_err();
    assert_eq!(error.to_string().chars().filter(|&c| c == 'ü').count(), SHOWN);
}
