//! Messages as they go over the wire.

use std::ffi::CString;

use proptest::prelude::*;

use super::*;

prop_compose! {
    fn heads()(run: i64, job: i64, at: i64, attempt: u32, trigger in 0u8..8, local: bool,
               flush_lsn: u64, shares_lock: bool, fresh: bool,
               window: Option<(i64, i64)>, timeout: Option<i64>,
               stuck_after: Option<i64>, ends_stuck: bool) -> RunOrder<'static> {
        RunOrder {
            run: RunId(run),
            job: JobId(job),
            scheduled_for: Timestamp(at),
            attempt,
            trigger: Trigger::from_u8(trigger).unwrap(),
            local,
            claim_first: !local,
            reaches_outside: local,
            flush_lsn,
            shares_lock,
            fresh,
            window: window.map(|(start, end)| (Timestamp(start), Timestamp(end))),
            dry_run: flush_lsn.is_multiple_of(2).then_some(attempt),
            only_asks: fresh,
            requested_by: None,
            alert: None,
            run_if: None,
            timeout,
            stuck_after,
            ends_stuck,
            settings: None,
            job_name: None,
            command: c"",
        }
    }
}

fn texts() -> impl Strategy<Value = String> {
    proptest::collection::vec(any::<char>().prop_filter("text", |c| *c != '\0'), 0..40)
        .prop_map(|chars| chars.into_iter().collect())
}

fn order_bytes(command: &CStr) -> Vec<u8> {
    let order = RunOrder {
        run: RunId(7),
        job: JobId(3),
        scheduled_for: Timestamp(1),
        attempt: 1,
        trigger: Trigger::Schedule,
        local: true,
        claim_first: false,
        reaches_outside: false,
        flush_lsn: 0,
        shares_lock: false,
        fresh: false,
        window: Some((Timestamp(2), Timestamp(3))),
        dry_run: Some(5),
        only_asks: false,
        requested_by: Some(c"ann"),
        alert: Some("{}"),
        run_if: Some("true"),
        timeout: Some(4),
        stuck_after: None,
        ends_stuck: true,
        settings: Some("{}"),
        job_name: Some(c"nightly"),
        command,
    };
    let mut bytes = Vec::new();
    order.encode(&mut bytes).unwrap();
    bytes
}

fn report() -> RunReport<'static> {
    RunReport {
        run: RunId(7),
        job: JobId(3),
        outcome: Outcome::Failed,
        cause: None,
        guarantee: Guarantee::AtMostOnce,
        recorded: false,
        held: None,
        condition: Condition::Failed,
        again: false,
        reaches_outside: true,
        started_at: Timestamp(1),
        ended_at: Timestamp(2),
        row_count: Some(4),
        usage: Usage { wal_bytes: 5, rows: 6, ..Usage::default() },
        sqlstate: Some(*b"22012"),
        message: "ERROR:  division by zero\n",
        error_json: Some("{}"),
    }
}

#[test]
fn command_is_a_c_string_inside_the_message() {
    let bytes = order_bytes(c"select 1");
    let received = RunOrder::decode(&bytes).unwrap();
    assert_eq!(received.command, c"select 1");
    let place = received.command.as_ptr().addr() - bytes.as_ptr().addr();
    assert_eq!(place, bytes.len() - "select 1".len() - 1);
}

#[test]
fn nul_inside_a_text_is_refused_on_both_sides() {
    let mut bytes = order_bytes(c"select 1");
    let inside = bytes.len() - 4;
    bytes[inside] = 0;
    assert_eq!(RunOrder::decode(&bytes), Err(WireError::Text("command")));
    let mut out = vec![1, 2];
    let report = RunReport { message: "\0", ..report() };
    assert_eq!(report.encode(&mut out), Err(WireError::Text("message")));
    assert_eq!(out, [1, 2]);
}

#[test]
fn cut_lengthened_and_confused_messages_are_errors() {
    let bytes = order_bytes(c"select 1");
    for end in 0..bytes.len() {
        assert_eq!(RunOrder::decode(&bytes[..end]), Err(WireError::Truncated(end)));
    }
    let mut longer = bytes.clone();
    longer.push(0);
    assert_eq!(RunOrder::decode(&longer), Err(WireError::Trailing(1)));
    assert_eq!(RunReport::decode(&bytes), Err(WireError::Tag(b'O')));
    let mut bytes = Vec::new();
    report().encode(&mut bytes).unwrap();
    for end in 0..bytes.len() {
        assert_eq!(RunReport::decode(&bytes[..end]), Err(WireError::Truncated(end)));
    }
}

proptest! {
    #[test]
    fn orders_come_back_unchanged(head in heads(), name in proptest::option::of(texts()),
                                  settings in proptest::option::of(texts()),
                                  condition in proptest::option::of(texts()),
                                  asker in proptest::option::of(texts()),
                                  command in texts()) {
        let name = name.map(|name| CString::new(name).unwrap());
        let command = CString::new(command).unwrap();
        let asker = asker.map(|name| CString::new(name).unwrap());
        let (job_name, settings) = (name.as_deref(), settings.as_deref());
        let (run_if, requested_by) = (condition.as_deref(), asker.as_deref());
        let command = command.as_c_str();
        let order = RunOrder { job_name, settings, run_if, requested_by, command, ..head };
        let mut bytes = Vec::new();
        order.encode(&mut bytes).unwrap();
        prop_assert_eq!(RunOrder::decode(&bytes).unwrap(), order);
    }

    #[test]
    fn reports_come_back_unchanged(outcome in 0u8..5, cause in 0u8..5, guarantee in 0u8..3,
                                   recorded: bool, held: Option<u64>, again: bool,
                                   condition in 0u8..3,
                                   row_count: Option<i64>, usage: [i64; 9], zeros: u16,
                                   sqlstate: Option<[u8; 5]>,
                                   message in texts(),
                                   error in proptest::option::of(texts())) {
        let report = RunReport {
            outcome: Outcome::from_u8(outcome).unwrap(),
            cause: Cause::from_u8(cause),
            guarantee: Guarantee::from_u8(guarantee).unwrap(),
            recorded,
            held,
            again,
            condition: Condition::from_u8(condition).unwrap(),
            row_count,
            usage: Usage::from_array(std::array::from_fn(|at| if zeros >> at & 1 == 1 { 0 } else { usage[at] })),
            sqlstate,
            message: &message,
            error_json: error.as_deref(),
            ..report()
        };
        let mut bytes = Vec::new();
        report.encode(&mut bytes).unwrap();
        prop_assert_eq!(RunReport::decode(&bytes).unwrap(), report);
    }

    #[test]
    fn no_bytes_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
        for tag in [ORDER_TAG, REPORT_TAG] {
            if let Some(first) = bytes.first_mut() {
                *first = tag;
            }
            let _ = RunOrder::decode(&bytes);
            let _ = RunReport::decode(&bytes);
        }
    }

    #[test]
    fn damaged_messages_do_not_panic(at in 0usize..105, value: u8) {
        let mut bytes = order_bytes(c"select some_function()");
        if let Some(byte) = bytes.get_mut(at) {
            *byte = value;
        }
        let _ = RunOrder::decode(&bytes);
    }
}
