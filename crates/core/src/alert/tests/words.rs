//! What an alert says to those who are told of it.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn episode(name: Option<String>) -> Episode {
    Episode {
        id: i64::MAX,
        rule: Rule::SuccessRate,
        job: JobId(i64::MIN),
        name,
        database: "\u{1f600}".repeat(64),
        raised_at: at(1_763_700_000),
        recovered: Some((at(1_763_700_060), Recovery::JobDropped)),
        run: Some(RunId(i64::MIN)),
        outcome: Some(Outcome::Cancelled),
        detail: Finding::Absent { limit: i64::MAX, last_success: Some(at(0)) }.detail(),
        message: Finding::SuccessRate { succeeded: 7, limit: 99.123_456_789 }.message(),
    }
}

#[test]
fn a_document_says_it_all() {
    let alert = Episode {
        id: 3,
        rule: Rule::Failures,
        job: JobId(7),
        database: "postgres".to_owned(),
        recovered: None,
        run: Some(RunId(42)),
        outcome: Some(Outcome::Failed),
        detail: Finding::Failures { count: 3 }.detail(),
        message: Finding::Failures { count: 3 }.message(),
        ..episode(Some("nightly \"é\"".to_owned()))
    };
    let text = document(Call::Alert, &alert);
    let read: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        read,
        json!({
            "id": 3, "event": "alert", "rule": "failures", "jobid": 7, "job": "nightly \"é\"",
            "database": "postgres", "raised_at": "2025-11-21T04:40:00Z", "recovered_at": null,
            "recovery": null, "runid": 42, "outcome": "failed", "detail": {"failures": 3},
            "text": "alert: nightly \"é\" (job 7 in postgres): 3 occurrences in a row have failed",
        })
    );
    let over = Episode { recovered: Some((at(1_763_700_060), Recovery::Recovered)), ..alert };
    let read: Value = serde_json::from_str(&document(Call::Recovery, &over)).unwrap();
    assert_eq!(read["event"], "recovery");
    assert!(read["text"].as_str().unwrap().starts_with("recovered: nightly"), "{read}");
}

proptest! {
    #[test]
    fn documents_have_room_and_are_ascii(name in proptest::option::of(any::<String>())) {
        for name in [name, Some("\u{1f600}\u{1}".repeat(64))] {
            for call in [Call::Alert, Call::Recovery] {
                let text = document(call, &episode(name.clone()));
                prop_assert!(text.len() <= MOST_BYTES, "{}", text.len());
                prop_assert!(text.is_ascii());
                let read: Value = serde_json::from_str(&text).unwrap();
                prop_assert_eq!(read["job"].is_null(), name.is_none());
            }
        }
    }
}
