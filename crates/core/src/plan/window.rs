//! The option `run_window`: the hours of the week in which a job's runs may start.
//!
//! Owns its text and two invariants: printing gives a text that means the same window, and
//! `opens`/`closes` speak of local wall clock time alone (what clocks do is [`super::gate`]'s).

use std::fmt;
use std::str::FromStr;

use crate::schedule::civil::{DAY, weekday};

const WEEK: i64 = 7 * DAY;
const EVERY_DAY: u8 = 0x7f;
/// Minutes in a day.
const MIDNIGHT: i64 = 1_440;
/// Windows of this many bytes or more are refused, as schedules are.
const MAX_LENGTH: usize = 1_000;

const DAYS: [&str; 7] =
    ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"];

const TIMES_HINT: &str = "Write a window like 09:00-17:00, with 24:00 for the end of the day.";
const DAYS_HINT: &str = "Write days as mon to sun, alone, as ranges or in lists: mon-fri, sun.";

/// Hours of the week, on local wall clocks.
///
/// One or more alternatives parted by `;`, each of them days (names, ranges, lists), then a time
/// of day to begin and one to end, exclusive. Without days it holds every day, without times all
/// day. A window that ends at or before its beginning runs into the next day and belongs to the
/// day it began on: `fri 22:00-06:00` includes Saturday 05:59.
///
/// ```
/// use pg_tock_core::plan::RunWindow;
///
/// let window = RunWindow::parse("Mon-Fri 9:00-17:00; sat 10:00-12:00")?;
/// assert_eq!(window.to_string(), "mon-fri 09:00-17:00; sat 10:00-12:00");
/// # Ok::<(), pg_tock_core::plan::WindowError>(())
/// ```
///
/// Two windows are equal when they hold the same hours, however they are written.
#[derive(Clone, Debug)]
pub struct RunWindow {
    parts: Box<[Part]>,
    /// The union of the parts as seconds of the week from Sunday 00:00, end exclusive: sorted, not
    /// touching, not empty.
    week: Box<[(i64, i64)]>,
}

#[derive(Clone, Copy, Debug)]
struct Part {
    /// Bit 0 for Sunday.
    days: u8,
    /// Minutes of the day, 0-1439.
    from: i64,
    /// Minutes from the midnight `from` counts from: more than `from`, at most a day later.
    to: i64,
}

/// What is wrong with a window's text. `Display` is the problem, in Postgres message style.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct WindowError {
    at: usize,
    problem: String,
    hint: &'static str,
}

impl WindowError {
    /// Where the wrong part begins: a byte offset from 0, on a character boundary; the text's
    /// length when something is missing at its end.
    #[must_use]
    pub const fn at(&self) -> usize {
        self.at
    }

    /// A sentence that says what to write instead.
    #[must_use]
    pub const fn hint(&self) -> &'static str {
        self.hint
    }
}

impl RunWindow {
    /// Reads a window's text.
    ///
    /// # Errors
    /// The text is not a window; the error names the byte.
    pub fn parse(text: &str) -> Result<Self, WindowError> {
        if text.len() >= MAX_LENGTH {
            return Err(WindowError {
                at: 0,
                problem: format!("a run window of {} bytes is too long", text.len()),
                hint: "A run window is shorter than 1,000 bytes.",
            });
        }
        let mut parts: Vec<Part> = Vec::new();
        let mut at = 0;
        for piece in text.split(';') {
            let part = Reader { text, at, end: at + piece.len() }.part()?;
            at += piece.len() + 1;
            match parts.iter_mut().find(|known| (known.from, known.to) == (part.from, part.to)) {
                Some(known) => known.days |= part.days,
                None => parts.push(part),
            }
        }
        let week = union(&parts);
        Ok(Self { parts: parts.into_boxed_slice(), week })
    }

    /// The first local second at or after `local` that is in the window.
    pub(super) fn opens(&self, local: i64) -> i64 {
        let (week, second) = of_week(local);
        let index = self.week.partition_point(|(_, to)| *to <= second);
        match (self.week.get(index), self.week.first()) {
            (Some((from, _)), _) => week + second.max(*from),
            (None, Some((from, _))) => week + WEEK + from,
            (None, None) => i64::MAX,
        }
    }

    /// The first local second at or after `local` that is not in the window; `None` when all are.
    pub(super) fn closes(&self, local: i64) -> Option<i64> {
        let (week, second) = of_week(local);
        let index = self.week.partition_point(|(_, to)| *to <= second);
        match (self.week.get(index), self.week.first()) {
            (Some((0, WEEK)), _) => None,
            (Some((from, WEEK)), Some((0, to))) if *from <= second => Some(week + WEEK + to),
            (Some((from, to)), _) if *from <= second => Some(week + to),
            _ => Some(local),
        }
    }
}

/// The local second at which a week began (Sunday 00:00), and the seconds since.
const fn of_week(local: i64) -> (i64, i64) {
    let second = weekday(local.div_euclid(DAY)) * DAY + local.rem_euclid(DAY);
    (local - second, second)
}

/// The seconds of the week that the parts hold together.
fn union(parts: &[Part]) -> Box<[(i64, i64)]> {
    let mut all = Vec::new();
    for part in parts {
        for day in (0..7).filter(|day| part.days >> day & 1 == 1) {
            let (from, to) = (day * DAY + part.from * 60, day * DAY + part.to * 60);
            all.push((from, to.min(WEEK)));
            if to > WEEK {
                all.push((0, to - WEEK));
            }
        }
    }
    all.sort_unstable();
    let mut merged: Vec<(i64, i64)> = Vec::with_capacity(all.len());
    for (from, to) in all {
        match merged.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(to),
            _ => merged.push((from, to)),
        }
    }
    merged.into_boxed_slice()
}

impl PartialEq for RunWindow {
    fn eq(&self, other: &Self) -> bool {
        self.week == other.week
    }
}

impl Eq for RunWindow {}

impl FromStr for RunWindow {
    type Err = WindowError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl fmt::Display for RunWindow {
    /// The normal form: `mon-fri 09:00-17:00; sat 10:00-12:00`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, part) in self.parts.iter().enumerate() {
            if index > 0 {
                f.write_str("; ")?;
            }
            if part.days != EVERY_DAY {
                write!(f, "{} ", day_words(part.days))?;
            }
            // An end of 24:00 is written so; one on the next day counts from its midnight.
            let to = if part.to > MIDNIGHT { part.to - MIDNIGHT } else { part.to };
            let (from, minute) = (part.from, 60);
            write!(f, "{:02}:{:02}-", from / minute, from % minute)?;
            write!(f, "{:02}:{:02}", to / minute, to % minute)?;
        }
        Ok(())
    }
}

/// A set of days that is not the whole week: `mon-fri,sun`.
fn day_words(days: u8) -> String {
    let has = |day: usize| days >> (day % 7) & 1 == 1;
    let name = |day: usize| DAYS.get(day % 7).and_then(|name| name.get(..3)).unwrap_or_default();
    // From Monday on, but never in the middle of a run.
    let start = (1..8).find(|&day| has(day) && !has(day + 6)).unwrap_or(1);
    let mut words: Vec<String> = Vec::new();
    let mut day = start;
    while day < start + 7 {
        if has(day) {
            let last = (day..start + 7).take_while(|&day| has(day)).last().unwrap_or(day);
            words.push(if last == day {
                name(day).to_owned()
            } else {
                format!("{}-{}", name(day), name(last))
            });
            day = last;
        }
        day += 1;
    }
    words.join(",")
}

/// Reads one alternative; nothing is read at or beyond `end`.
struct Reader<'a> {
    text: &'a str,
    at: usize,
    end: usize,
}

impl<'a> Reader<'a> {
    fn part(mut self) -> Result<Part, WindowError> {
        self.blanks();
        if self.rest().is_empty() {
            return Err(self.error(
                self.at,
                "an empty alternative is not possible".to_owned(),
                TIMES_HINT,
            ));
        }
        let named = self.rest().starts_with(|c: char| c.is_ascii_alphabetic());
        let days = if named { self.days()? } else { EVERY_DAY };
        self.blanks();
        if named && self.rest().is_empty() {
            return Ok(Part { days, from: 0, to: MIDNIGHT });
        }
        let begin = self.at;
        let from = self.time()?;
        self.blanks();
        if !self.eat('-') {
            let problem = format!("expected \"-\" and the end of the window, not {}", self.shown());
            return Err(self.error(self.at, problem, TIMES_HINT));
        }
        self.blanks();
        let to = self.time()?;
        self.blanks();
        if !self.rest().is_empty() {
            let problem = format!("unexpected {} after the times", self.shown());
            return Err(self.error(self.at, problem, "Part alternatives with \";\"."));
        }
        if from == MIDNIGHT {
            let problem = "24:00 cannot begin a window".to_owned();
            return Err(self.error(begin, problem, "Write 00:00 on the day after."));
        }
        if from == to {
            let problem = "the window begins and ends at the same time".to_owned();
            return Err(self.error(begin, problem, "For all day write 00:00-24:00."));
        }
        Ok(Part { days, from, to: if to < from { to + MIDNIGHT } else { to } })
    }

    /// Reads `mon-fri,sun`.
    fn days(&mut self) -> Result<u8, WindowError> {
        let mut days = 0;
        loop {
            let first = self.day()?;
            self.blanks();
            let mut last = first;
            if self.eat('-') {
                self.blanks();
                last = self.day()?;
                self.blanks();
            }
            let mut day = first;
            days |= 1 << day;
            while day != last {
                day = (day + 1) % 7;
                days |= 1 << day;
            }
            if !self.eat(',') {
                return Ok(days);
            }
            self.blanks();
        }
    }

    fn day(&mut self) -> Result<u8, WindowError> {
        let at = self.at;
        let word = self.take(|c| c.is_ascii_alphabetic());
        if word.is_empty() {
            let problem = format!("expected a day of the week, not {}", self.shown());
            return Err(self.error(at, problem, DAYS_HINT));
        }
        let known = |name: &&str| {
            word.eq_ignore_ascii_case(name)
                || name.get(..3).is_some_and(|short| word.eq_ignore_ascii_case(short))
        };
        (0_u8..).zip(&DAYS).find(|(_, name)| known(name)).map(|(day, _)| day).ok_or_else(|| {
            let shown: String = word.chars().take(24).collect();
            self.error(at, format!("\"{shown}\" is not a day of the week"), DAYS_HINT)
        })
    }

    /// Reads `9:00`, as minutes; `24:00` is a day.
    fn time(&mut self) -> Result<i64, WindowError> {
        let at = self.at;
        let word = self.take(|c| c.is_ascii_digit() || c == ':');
        if word.is_empty() {
            let problem = format!("expected a time of day, not {}", self.shown());
            return Err(self.error(at, problem, TIMES_HINT));
        }
        parse_time(word).ok_or_else(|| {
            let shown: String = word.chars().take(24).collect();
            let problem = format!("\"{shown}\" is not a time of day in hours and minutes");
            self.error(at, problem, TIMES_HINT)
        })
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..self.end).unwrap_or_default()
    }

    fn take(&mut self, pass: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let taken = rest.find(|c| !pass(c)).unwrap_or(rest.len());
        self.at += taken;
        rest.get(..taken).unwrap_or_default()
    }

    fn blanks(&mut self) {
        self.take(|c| c.is_ascii_whitespace());
    }

    fn eat(&mut self, c: char) -> bool {
        let found = self.rest().starts_with(c);
        if found {
            self.at += c.len_utf8();
        }
        found
    }

    /// The next character for a message.
    fn shown(&self) -> String {
        let next = self.rest().chars().next();
        next.map_or_else(|| "the end".to_owned(), |c| format!("\"{}\"", c.escape_debug()))
    }

    fn error(&self, at: usize, problem: String, hint: &'static str) -> WindowError {
        debug_assert!(at <= self.end, "an error lies within the alternative");
        WindowError { at, problem, hint }
    }
}

/// `9:00` to `24:00` in minutes.
fn parse_time(word: &str) -> Option<i64> {
    let (hour, minute) = word.split_once(':')?;
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if !(1..=2).contains(&hour.len()) || minute.len() != 2 || !digits(hour) || !digits(minute) {
        return None;
    }
    let (hour, minute): (i64, i64) = (hour.parse().ok()?, minute.parse().ok()?);
    let time = hour * 60 + minute;
    (minute < 60 && time <= MIDNIGHT).then_some(time)
}
