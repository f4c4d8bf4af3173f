//! Options in the one way they are written when it is us who write them.
//!
//! Owns one invariant: options that mean the same come out as the same document, whichever way an
//! interval or a number was written, and reading that document gives the same options again.

use serde_json::Value as Json;

use super::{DAY, Document, OPTIONS, Options, Value};
use crate::time::Timestamp;

/// The largest whole number every reader of JSON has without loss.
const LARGEST_WHOLE: f64 = 9_007_199_254_740_992.0;

impl Options {
    /// The options as JSON, without those that have their default, each in its canonical form.
    #[must_use]
    pub fn canonical(&self) -> Document {
        let mut document = Document::new();
        for spec in OPTIONS {
            let Some(value) = self.values.get(spec.name) else { continue };
            let written = match value {
                Value::Text(text) => text.as_str().into(),
                Value::Flag(flag) => (*flag).into(),
                Value::Span(micros) => interval(*micros).into(),
                Value::Texts(texts) => texts.clone().into(),
                Value::Count(count) => (*count).into(),
                Value::Factor(factor) => number(*factor),
                Value::Settings => self.document.get(spec.name).cloned().unwrap_or_default(),
            };
            document.insert(spec.name.to_owned(), written);
        }
        document
    }
}

/// A number, without a fraction if it has none.
fn number(value: f64) -> Json {
    if value.fract() == 0.0 && value.abs() < LARGEST_WHOLE {
        // Exact, as was just made sure.
        #[expect(clippy::cast_possible_truncation, reason = "a whole number in range")]
        return (value as i64).into();
    }
    value.into()
}

/// An interval of so many microseconds, in words that Postgres reads whatever its settings:
/// `1 day 2 hours`, `90 seconds` as `1 minute 30 seconds`, nothing as `0 seconds`.
#[must_use]
pub fn interval(micros: i64) -> String {
    const UNITS: [(&str, i64); 3] =
        [("day", DAY), ("hour", 3_600 * Timestamp::SECOND), ("minute", 60 * Timestamp::SECOND)];
    let mut rest = micros.max(0);
    let mut words = Vec::new();
    for (unit, length) in UNITS {
        let count = rest / length;
        rest %= length;
        if count > 0 {
            words.push(format!("{count} {unit}{}", if count == 1 { "" } else { "s" }));
        }
    }
    if rest > 0 || words.is_empty() {
        let (seconds, fraction) = (rest / Timestamp::SECOND, rest % Timestamp::SECOND);
        let fraction = if fraction == 0 {
            String::new()
        } else {
            format!(".{}", format!("{fraction:06}").trim_end_matches('0'))
        };
        let plural = if seconds == 1 && fraction.is_empty() { "" } else { "s" };
        words.push(format!("{seconds}{fraction} second{plural}"));
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn intervals_are_written_in_words() {
        let second = Timestamp::SECOND;
        for (micros, words) in [
            (0, "0 seconds"),
            (1, "0.000001 seconds"),
            (second, "1 second"),
            (90 * second, "1 minute 30 seconds"),
            (5 * second / 2, "2.5 seconds"),
            (3_600 * second, "1 hour"),
            (26 * 3_600 * second + 1_500_000, "1 day 2 hours 1.5 seconds"),
            (DAY * 36_525, "36525 days"),
        ] {
            assert_eq!(interval(micros), words);
        }
    }

    #[test]
    fn whole_numbers_have_no_fraction() {
        assert_eq!(number(2.0), json!(2));
        assert_eq!(number(1.5), json!(1.5));
        assert_eq!(number(1e300).to_string(), json!(1e300).to_string());
    }
}
