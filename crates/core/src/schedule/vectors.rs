//! pg_cron's own verdicts, with the bit maps its parser made: 112 chosen texts and 10,000 random ones.

use super::forms;
use super::*;

/// Texts whose verdict is deliberately another one: (text, what it is here).
fn departure(text: &str, cron: Option<&Cron>) -> Option<bool> {
    let fields = |c: &Cron| match c.times {
        Times::Fields { minutes, hours, .. } => (minutes, hours),
        Times::Grid(_) => unreachable!("no vector is an interval on a grid"),
    };
    let bits = |range: std::ops::RangeInclusive<u64>| range.fold(0u64, |set, bit| set | 1 << bit);
    Some(match text {
        // New forms.
        "* * L * *" => cron?.days.last_day,
        "* * 15W * *" => cron?.days.near_workdays == 1 << 15,
        "* * * * 1L" => cron?.days.last_weekdays == 1 << 1,
        // Ranges that wrap.
        "* * * * fri-mon" => cron?.days.weekdays == 0b110_0011,
        "* * * * 5-1" => cron?.days.weekdays == 0b110_0011,
        "* * * * sat-sun" => cron?.days.weekdays == 0b100_0001,
        "50-5 * * * *" => fields(cron?).0 == bits(0..=5) | bits(50..=59),
        "* 23-8 * * *" => fields(cron?).1 == bits(0..=8) | bits(23..=23),
        "50-5/2 * * * *" => {
            fields(cron?).0 == 1 << 50 | 1 << 52 | 1 << 54 | 1 << 56 | 1 << 58 | 0b1_0101
        }
        // Numbers that do not fit.
        "4294967301 * * * *" | "-4294967291 seconds" => cron.is_none(),
        // 1 January.
        "@yearly" | "@annually" => cron?.days.months == 1 << 1 && cron?.days.month_days == 1 << 1,
        _ => return None,
    })
}

/// The numbers of a list in the vectors' notation.
fn set(list: &str, all: u64) -> u64 {
    match list {
        "ALL" => all,
        "EMPTY" => 0,
        _ => list.split(',').fold(0, |set, n| set | 1 << n.parse::<u64>().unwrap()),
    }
}

fn agrees(cron: &Cron, verdict: &str) -> bool {
    let part = |key: &str| {
        let value = verdict.split_once(key).unwrap().1;
        value.split(' ').next().unwrap()
    };
    let Times::Fields { seconds, minutes, hours } = cron.times else { return false };
    let weekdays = set(part("dow="), 0xff);
    let has = |flag: &str| verdict.contains(flag);
    let month_days = set(part("dom="), days::ALL_DAYS);
    let either = !has("DOM*") && !has("DOW*");
    let every = month_days == days::ALL_DAYS && weekdays == 0xff;
    seconds == 1
        && minutes == set(part("min="), (1 << 60) - 1)
        && hours == set(part("hr="), (1 << 24) - 1)
        && cron.days.month_days == month_days
        && cron.days.months == set(part("mon="), days::ALL_MONTHS)
        && cron.days.weekdays == (weekdays | weekdays >> 7) & 0x7f
        && cron.days.last_day == has("LAST")
        && cron.days.either == (either && !every)
        && cron.wild == (has("MIN*") || has("HR*"))
}

#[test]
fn the_parser_gives_pg_crons_verdict_and_values() {
    let mut count = 0;
    let mut departures = 0;
    let mut seen = std::collections::HashSet::new();
    for line in include_str!("../../tests/data/pg_cron_vectors.txt").lines() {
        let (text, verdict) = line.split_once("=> ").unwrap();
        // Tests of trailing blanks lost them in the file's padding; the second one of a pair of
        // equal texts is the one with a blank.
        let padded = text.trim_end();
        let written = if seen.insert(padded) { padded.to_owned() } else { format!("{padded} ") };
        let text = written.replace("\\t", "\t").replace("\\n", "\n");
        let parsed = Schedule::parse(&text).ok().map(|schedule| schedule.form);
        count += 1;
        let cron = match &parsed {
            Some(Form::Cron(cron)) => Some(cron),
            _ => None,
        };
        if let Some(right) = departure(&text, cron) {
            departures += 1;
            assert!(right, "{text:?}: {parsed:?}");
            continue;
        }
        let verdict = verdict.trim();
        let right = match &parsed {
            None => verdict == "INVALID",
            Some(Form::Startup) => verdict.ends_with("REBOOT"),
            Some(Form::Interval(n)) => verdict == format!("INTERVAL {n}s"),
            Some(Form::Cron(cron)) => verdict.starts_with("min=") && agrees(cron, verdict),
            Some(_) => false,
        };
        assert!(right, "{text:?}: pg_cron says {verdict}, we say {parsed:?}");
    }
    assert_eq!((count, departures), (112, 13));
}

#[test]
fn a_trailing_blank_is_allowed_after_seconds_only() {
    assert!(forms::seconds_interval("5 seconds ").unwrap().is_ok());
    assert!(forms::seconds_interval("5 second ").unwrap().is_err());
    assert!(forms::seconds_interval("5 second").unwrap().is_ok());
}

/// Undoes the escapes of the differential file.
fn unescape(text: &str) -> String {
    [("\\n", "\n"), ("\\t", "\t"), ("\\r", "\r"), ("\\v", "\u{b}")]
        .into_iter()
        .fold(text.to_owned(), |text, (escape, character)| text.replace(escape, character))
}

#[test]
fn ten_thousand_texts_have_pg_crons_verdict_and_values() {
    let mut count = 0;
    for line in include_str!("../../tests/data/pg_cron_differential.tsv").lines().skip(3) {
        let (text, verdict) = line.split_once('\t').unwrap();
        let text = unescape(text);
        let parsed = Schedule::parse(&text).ok().map(|schedule| schedule.form);
        let words: Vec<&str> = verdict.split(' ').collect();
        let set = |index: usize| u64::from_str_radix(words[index], 16).unwrap();
        let flag = |bit: u64| words[6].parse::<u64>().unwrap() & bit != 0;
        let right = match &parsed {
            None => verdict == "X",
            Some(Form::Interval(n)) => verdict == format!("I {n}"),
            Some(Form::Startup) => words[0] == "C" && flag(4),
            Some(Form::Cron(Cron { times: Times::Fields { minutes, hours, .. }, days, wild })) => {
                let weekdays = (set(5) | set(5) >> 7) & 0x7f;
                let every = set(3) == days::ALL_DAYS && weekdays == days::ALL_WEEKDAYS;
                words[0] == "C"
                    && (*minutes, *hours) == (set(1), set(2))
                    && (days.month_days, days.months, days.weekdays) == (set(3), set(4), weekdays)
                    && days.either == (!flag(1) && !flag(2) && !every)
                    && (*wild, days.last_day) == (flag(8) || flag(16), flag(32))
            }
            Some(_) => false,
        };
        assert!(right, "{text:?}: pg_cron says {verdict}, we say {parsed:?}");
        count += 1;
    }
    assert_eq!(count, 10_000);
}
