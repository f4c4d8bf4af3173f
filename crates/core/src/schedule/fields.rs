//! The fields of a cron expression.
//!
//! Owns pg_cron's dialect: which item is accepted, what it means, and where reading stops. The
//! leniency is part of the contract (`1-5%2` is `1-5`, `1#2` is `1`): text after a complete item
//! is skipped up to the next blank, unless a letter or digit follows directly. New forms exist
//! only where pg_cron refuses the text (see the table in the module above).

use super::ScheduleError;
use super::scan::{self, Scan};

/// What a field is called, its range and its names.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) low: i64,
    pub(super) high: i64,
    names: &'static [&'static str],
    kind: Kind,
}

impl Field {
    /// Moves weekday 7 to 0; every other value stays.
    pub(super) const fn fold(&self, value: i64) -> i64 {
        if matches!(self.kind, Kind::Weekday) && value == 7 { 0 } else { value }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Plain,
    MonthDay,
    Weekday,
}

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
/// The three-letter names of the weekdays, from Sunday.
pub(super) const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// The six fields, in the order of the `seconds:` form.
pub(super) static FIELDS: [Field; 6] = [
    Field { name: "second", low: 0, high: 59, names: &[], kind: Kind::Plain },
    Field { name: "minute", low: 0, high: 59, names: &[], kind: Kind::Plain },
    Field { name: "hour", low: 0, high: 23, names: &[], kind: Kind::Plain },
    Field { name: "day of month", low: 1, high: 31, names: &[], kind: Kind::MonthDay },
    Field { name: "month", low: 1, high: 12, names: &MONTHS, kind: Kind::Plain },
    Field { name: "day of week", low: 0, high: 7, names: &WEEKDAYS, kind: Kind::Weekday },
];

/// What a field says.
#[derive(Clone, Debug, Default)]
pub(super) struct Values {
    /// Bit n for value n; weekday 7 is moved to 0.
    pub(super) set: u64,
    /// The field begins with `*`.
    pub(super) star: bool,
    /// `$` or `L` in the day of month.
    pub(super) last_day: bool,
    /// `LW`.
    pub(super) last_workday: bool,
    /// `15W`: bit 15.
    pub(super) near_workdays: u64,
    /// `fri#2`: bit 7 * (n - 1) + weekday.
    pub(super) nth_weekdays: u64,
    /// `5L` or `friL`: bit of the weekday.
    pub(super) last_weekdays: u64,
    /// Where text was skipped that does not count (pg_cron's leniency), if any was.
    pub(super) ignored_at: Option<usize>,
}

/// Whether text after a complete item is an error (new forms) or skipped (pg_cron).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    Skip,
    Refuse,
}

/// Reads one field and the blanks after it.
pub(super) fn read(
    scan: &mut Scan<'_>,
    field: &Field,
    rest: Rest,
) -> Result<Values, ScheduleError> {
    let mut values = Values { star: scan.peek() == Some(b'*'), ..Values::default() };
    let start = *scan;
    if matches!(scan.peek(), None | Some(b'\n')) {
        return Err(missing(scan, field, rest));
    }
    if field.kind == Kind::MonthDay && scan.eat(b'$') {
        if scan.peek() != Some(b' ') && scan.peek() != Some(b'\t') {
            return Err(ScheduleError::new(
                field.name,
                start.at(),
                "\"$\" must be the whole day of month field",
                "Write L for the last day of the month within a list.",
            ));
        }
        values.last_day = true;
    } else {
        list(scan, field, rest, &mut values)?;
        if !scan.at_boundary() {
            if rest == Rest::Refuse {
                return Err(unexpected(scan, field));
            }
            values.ignored_at = Some(scan.at());
            scan.take_while(|c| c != ' ' && c != '\t' && c != '\n');
        }
    }
    scan.blanks();
    if field.kind == Kind::Weekday && values.set >> 7 & 1 == 1 {
        values.set = values.set & 0x7f | 1;
    }
    Ok(values)
}

/// Reads the items of a list.
fn list(
    scan: &mut Scan<'_>,
    field: &Field,
    rest: Rest,
    values: &mut Values,
) -> Result<(), ScheduleError> {
    // pg_cron skips whatever follows `fri` in `fri#2`. So if that is not a list of ours, it is
    // skipped here too, and no text that pg_cron accepts is refused.
    let mut skipping = None;
    loop {
        let before = (*scan, values.nth_weekdays);
        if let Err(error) = item(scan, field, rest, values) {
            let (end, plain) = skipping.ok_or(error)?;
            (*scan, *values) = (end, plain);
            return Ok(());
        }
        if rest == Rest::Skip && skipping.is_none() && values.nth_weekdays != before.1 {
            let (mut end, mut plain) = (before.0, values.clone());
            let weekday = number(end.word(), field).map_or(0, |(weekday, _)| weekday);
            plain.nth_weekdays = before.1;
            plain.set |= 1 << weekday;
            skipping = Some((end, plain));
        }
        if !scan.eat(b',') {
            return Ok(());
        }
    }
}

/// Reads one item of a list: `*`, a value or a range, with an optional step.
fn item(
    scan: &mut Scan<'_>,
    field: &Field,
    rest: Rest,
    values: &mut Values,
) -> Result<(), ScheduleError> {
    let start = *scan;
    let (low, high) = if scan.eat(b'*') {
        (field.low, field.high)
    } else {
        let word = scan.word();
        let Some((low, named)) = number(word, field) else {
            return special(scan, &start, word, field, values);
        };
        if (named || rest == Rest::Refuse) && nth_weekday(scan, low, field, values) {
            return check(low, &start, field);
        }
        if !scan.eat(b'-') {
            if scan.peek() == Some(b'/') {
                return Err(ScheduleError::new(
                    field.name,
                    scan.at(),
                    format!("a step needs a range in the {} field", field.name),
                    format!("Write {low}-{}/n or */n.", field.high),
                ));
            }
            check(low, &start, field)?;
            values.set |= 1 << low;
            return Ok(());
        }
        let end = *scan;
        let word = scan.word();
        let Some((high, _)) = number(word, field) else {
            return Err(unexpected(&end, field));
        };
        check(low, &start, field)?;
        check(high, &end, field)?;
        (low, high)
    };
    let step = if scan.eat(b'/') { step(scan, field)? } else { 1 };
    add_range(values, field, low, high, step);
    Ok(())
}

/// Reads a step: a number from 1 to the field's highest value.
fn step(scan: &mut Scan<'_>, field: &Field) -> Result<i64, ScheduleError> {
    let start = *scan;
    let word = scan.word();
    match digits(word) {
        Some(step @ 1..) if step <= field.high => Ok(step),
        Some(step) => Err(ScheduleError::new(
            field.name,
            start.at(),
            format!(
                "step {} of the {} field is not between 1 and {}",
                shown(step, word),
                field.name,
                field.high
            ),
            format!("Steps in the {} field go from 1 to {}.", field.name, field.high),
        )),
        None => Err(unexpected(&start, field)),
    }
}

/// The value of a word, and whether it is a name. Digits too large for any field are `i64::MAX`.
fn number(word: &str, field: &Field) -> Option<(i64, bool)> {
    let named =
        field.names.iter().zip(field.low..).find(|(name, _)| word.eq_ignore_ascii_case(name));
    named.map(|(_, value)| (value, true)).or_else(|| digits(word).map(|value| (value, false)))
}

/// The three-letter name of a weekday that is written as its name or number.
pub(super) fn weekday_name(word: &str) -> Option<&'static str> {
    let [.., weekdays] = &FIELDS;
    let (day, _) = number(word, weekdays)?;
    WEEKDAYS.get(usize::try_from(weekdays.fold(day)).ok()?).copied()
}

/// The value of a run of digits; too large ones are `i64::MAX`, never wrapped.
pub(super) fn digits(word: &str) -> Option<i64> {
    let all = !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit());
    all.then(|| word.parse().unwrap_or(i64::MAX))
}

/// A number for a message: as it was written when it does not fit.
fn shown(value: i64, word: &str) -> String {
    if value == i64::MAX { scan::shown(word) } else { value.to_string() }
}

/// Refuses a value outside the field's range.
fn check(value: i64, start: &Scan<'_>, field: &Field) -> Result<(), ScheduleError> {
    if (field.low..=field.high).contains(&value) {
        return Ok(());
    }
    let word = start.clone().word();
    Err(ScheduleError::new(
        field.name,
        start.at(),
        format!(
            "{} {} is not between {} and {}",
            field.name,
            shown(value, word),
            field.low,
            field.high
        ),
        format!("The {} field takes {} to {}.", field.name, field.low, field.high),
    ))
}

/// Adds a range; one whose end is before its beginning wraps round (`22-6`, `fri-mon`).
fn add_range(values: &mut Values, field: &Field, low: i64, high: i64, step: i64) {
    if low <= high {
        let mut value = low;
        while value <= high {
            values.set |= 1 << value;
            value += step;
        }
        return;
    }
    // Weekdays go round after 7 values although 7 may be written for Sunday.
    let size = if field.kind == Kind::Weekday { 7 } else { field.high - field.low + 1 };
    let length = (high - low).rem_euclid(size);
    let mut steps = 0;
    while steps <= length {
        values.set |= 1 << (field.low + (low - field.low + steps) % size);
        steps += step;
    }
}

/// Reads `#n` after a weekday, if it completes the item; otherwise nothing is read.
fn nth_weekday(scan: &mut Scan<'_>, weekday: i64, field: &Field, values: &mut Values) -> bool {
    if field.kind != Kind::Weekday || weekday > 7 {
        return false;
    }
    let mut ahead = *scan;
    if !ahead.eat(b'#') {
        return false;
    }
    let Some(n @ 1..=5) = digits(ahead.word()) else { return false };
    if !ahead.at_boundary() && ahead.peek() != Some(b',') {
        return false;
    }
    values.nth_weekdays |= 1 << (7 * (n - 1) + weekday % 7);
    *scan = ahead;
    true
}

/// Reads the items pg_cron does not know: `L`, `LW` and `15W` in the day of month, `5L` and
/// `friL` in the day of week.
fn special(
    scan: &mut Scan<'_>,
    start: &Scan<'_>,
    word: &str,
    field: &Field,
    values: &mut Values,
) -> Result<(), ScheduleError> {
    let complete = scan.at_boundary() || scan.peek() == Some(b',');
    let upper = word.to_ascii_uppercase();
    match field.kind {
        Kind::MonthDay if complete && upper == "L" => values.last_day = true,
        Kind::MonthDay if complete && upper == "LW" => values.last_workday = true,
        Kind::MonthDay if complete && upper.ends_with('W') => {
            let day =
                upper.strip_suffix('W').and_then(digits).ok_or_else(|| unexpected(start, field))?;
            check(day, start, field)?;
            values.near_workdays |= 1 << day;
        }
        Kind::Weekday if complete && upper.ends_with('L') => {
            let (day, _) = upper
                .strip_suffix('L')
                .and_then(|day| number(day, field))
                .ok_or_else(|| unexpected(start, field))?;
            check(day, start, field)?;
            values.last_weekdays |= 1 << (day % 7);
        }
        _ => return Err(unexpected(start, field)),
    }
    Ok(())
}

/// The error for a text that ends before this field.
fn missing(scan: &Scan<'_>, field: &Field, rest: Rest) -> ScheduleError {
    let hint = match rest {
        Rest::Skip => {
            "A cron expression has five fields: minute, hour, day of month, month, day of week."
        }
        Rest::Refuse => {
            "After \"seconds:\" come six fields: second, minute, hour, day of month, month, day of \
             week."
        }
    };
    ScheduleError::new(field.name, scan.at(), format!("the {} field is missing", field.name), hint)
}

/// The error for text that begins no item.
fn unexpected(scan: &Scan<'_>, field: &Field) -> ScheduleError {
    let word = scan.clone().word();
    if word.is_empty() {
        if matches!(scan.peek(), None | Some(b'\n')) {
            let problem = format!("the {} field is incomplete", field.name);
            return ScheduleError::new(field.name, scan.at(), problem, usage(field));
        }
        return ScheduleError::new(
            field.name,
            scan.at(),
            format!("unexpected {} in the {} field", scan.shown(), field.name),
            usage(field),
        );
    }
    let problem = format!("\"{}\" is not a {}", scan::shown(word), field.name);
    ScheduleError::new(field.name, scan.at(), problem, usage(field))
}

/// What a field takes, as a sentence.
fn usage(field: &Field) -> String {
    let Field { name, low, high, .. } = field;
    let names = match field.kind {
        Kind::MonthDay => ", $, L, LW or 15W",
        Kind::Weekday => ", sun to sat, fri#2 or 5L",
        Kind::Plain if !field.names.is_empty() => ", jan to dec",
        Kind::Plain => "",
    };
    format!(
        "The {name} field takes *, numbers from {low} to {high}{names}, ranges, lists and steps."
    )
}
