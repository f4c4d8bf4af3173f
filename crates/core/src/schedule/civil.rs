//! Calendar arithmetic on the proleptic Gregorian calendar.
//!
//! Owns one invariant: a day number (days since 1970-01-01) and a (year, month, day) triple convert
//! into each other without loss. Written out because the walk needs it in nanoseconds and without
//! fallible constructors; the tests compare every day of 1900-2200 with `chrono`.

/// Seconds in a civil day; the walk works in local seconds, where every day has this many.
pub(crate) const DAY: i64 = 86_400;

/// The day number of a date. `month` is 1-12; `day` may be any number and counts from 1.
pub(crate) const fn day_number(year: i64, month: i64, day: i64) -> i64 {
    // Years begin in March, so that the leap day is the last of its year.
    let shifted = if month <= 2 { year - 1 } else { year };
    let era = shifted.div_euclid(400);
    let year_of_era = shifted.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The (year, month, day) of a day number.
pub(crate) const fn date_of(day_number: i64) -> (i64, i64, i64) {
    let days = day_number + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

/// The weekday of a day number, 0 = Sunday.
pub(crate) const fn weekday(day_number: i64) -> i64 {
    (day_number + 4).rem_euclid(7)
}

/// The number of days in a month.
pub(crate) const fn month_length(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use chrono::{Datelike, NaiveDate};

    use super::*;

    #[test]
    fn agrees_with_chrono_on_every_day_of_three_centuries() {
        let mut date = NaiveDate::from_ymd_opt(1900, 1, 1).unwrap();
        let epoch = NaiveDate::from_ymd_opt(1970, 1, 1).unwrap();
        while date.year() <= 2200 {
            let number = date.signed_duration_since(epoch).num_days();
            let ymd = (i64::from(date.year()), i64::from(date.month()), i64::from(date.day()));
            assert_eq!(day_number(ymd.0, ymd.1, ymd.2), number);
            assert_eq!(date_of(number), ymd);
            assert_eq!(weekday(number), i64::from(date.weekday().num_days_from_sunday()));
            let next = date.succ_opt().unwrap();
            if next.month() != date.month() {
                assert_eq!(month_length(ymd.0, ymd.1), ymd.2);
            }
            date = next;
        }
    }
}
