//! Which response codes mean success: the option `expect_status`.
//!
//! Owns one invariant: a set that was parsed prints as a text that parses to the same set, with
//! ranges sorted and merged.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use super::Refused;

const HINT: &str = "Write codes and ranges between 100 and 599, such as \"200-299,404\".";

/// A set of status codes, such as `200-299,404`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpectStatus {
    /// Sorted, disjoint, with a gap between neighbours, never empty.
    ranges: Vec<RangeInclusive<u16>>,
}

impl ExpectStatus {
    /// Whether a response with this code makes the run succeed.
    #[must_use]
    pub fn contains(&self, status: u16) -> bool {
        self.ranges.iter().any(|range| range.contains(&status))
    }
}

impl Default for ExpectStatus {
    /// `200-299`.
    fn default() -> Self {
        Self { ranges: vec![200..=299] }
    }
}

impl FromStr for ExpectStatus {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        let mut parsed = text.split(',').map(range).collect::<Result<Vec<_>, _>>()?;
        parsed.sort_by_key(|range| *range.start());
        let mut ranges: Vec<RangeInclusive<u16>> = Vec::with_capacity(parsed.len());
        for range in parsed {
            match ranges.last_mut() {
                Some(last) if *range.start() <= *last.end() + 1 => {
                    *last = *last.start()..=*range.end().max(last.end());
                }
                _ => ranges.push(range),
            }
        }
        Ok(Self { ranges })
    }
}

fn range(item: &str) -> Result<RangeInclusive<u16>, Refused> {
    let item = item.trim();
    let (first, last) = item.split_once('-').unwrap_or((item, item));
    let (first, last) = (code(first)?, code(last)?);
    if first > last {
        let problem = format!("range {first}-{last} in expect_status ends before it begins");
        return Err(Refused::new("expect_status", problem, HINT));
    }
    Ok(first..=last)
}

fn code(text: &str) -> Result<u16, Refused> {
    let text = text.trim();
    let digits = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(code @ 100..=599) if digits => Ok(code),
        _ => {
            let problem = format!("\"{text}\" in expect_status is not an HTTP status code");
            Err(Refused::new("expect_status", problem, HINT))
        }
    }
}

impl fmt::Display for ExpectStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, range) in self.ranges.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            if range.start() == range.end() {
                write!(f, "{comma}{}", range.start())?;
            } else {
                write!(f, "{comma}{}-{}", range.start(), range.end())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn texts_are_read_sorted_and_merged() {
        for (text, printed) in [
            ("200-299", "200-299"),
            ("404, 200-299", "200-299,404"),
            (" 200 - 204 ,205", "200-205"),
            ("200,200,200", "200"),
            ("200-299,250-310,100-599", "100-599"),
        ] {
            assert_eq!(text.parse::<ExpectStatus>().unwrap().to_string(), printed, "{text}");
        }
        assert_eq!(ExpectStatus::default().to_string(), "200-299");
    }

    #[test]
    fn bad_texts_are_refused() {
        for text in [
            "", ",", "200,", "2xx", "99", "600", "0200", "299-200", "200-", "-200", "200--299",
            "+20",
        ] {
            let error = text.parse::<ExpectStatus>().unwrap_err();
            assert_eq!(error.argument(), "expect_status", "{text}");
            assert!(error.to_string().contains("expect_status"), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn sets_hold_what_their_ranges_say(
            ranges in proptest::collection::vec((100u16..600, 100u16..600), 1..6), probe in 100u16..600,
        ) {
            let ranges: Vec<_> = ranges.into_iter().map(|(a, b)| (a.min(b), a.max(b))).collect();
            let text = ranges.iter().map(|(a, b)| format!("{a}-{b}")).collect::<Vec<_>>().join(",");
            let set: ExpectStatus = text.parse().unwrap();
            prop_assert_eq!(set.contains(probe), ranges.iter().any(|(a, b)| (*a..=*b).contains(&probe)));
            prop_assert_eq!(set.to_string().parse::<ExpectStatus>().unwrap(), set);
        }
    }
}
