//! Figures as people read them: milliseconds with three decimals, percent with two.
//!
//! Owns one invariant: the result is what Postgres's `round(figure::numeric, 3)` is, to the last digit,
//! or there is none and the caller asks Postgres. A cast to numeric keeps 15 significant digits of a
//! double precision and 6 of a real, and `round` takes a tie away from zero: both matter here, for means
//! and the middles of buckets end in a 5 often.

/// A number of thousandths for a double precision; None if Postgres has to be asked.
#[inline]
#[must_use]
pub fn thousandths(figure: f64) -> Option<u64> {
    // Not for what is less than zero or not a number.
    let scaled = Some(figure * 1_000.0).filter(|scaled| (0.0..1e14).contains(scaled))?;
    let (whole, from_tie) = split(scaled);
    // The product is off by 1.2e-16 of itself at most, and 15 digits by between 5e-16 and 5e-15.
    if from_tie.abs() > scaled * 6e-15 {
        return Some(whole + u64::from(from_tie > 0.0));
    }
    // So near that 15 digits show a tie, whatever comes after them.
    (from_tie.abs() <= scaled * 2.5e-16).then_some(whole + 1)
}

/// Powers of ten. They are exact, and so is a real times one of them.
const POWERS: [f64; 10] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];

/// The same for a real.
#[inline]
#[must_use]
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "at least 0 and below 2^53"
)]
pub fn thousandths_of_real(figure: f32) -> Option<u64> {
    let figure = Some(f64::from(figure)).filter(|figure| (0.0..1e9).contains(figure))?;
    if figure < 1e-4 {
        return Some(0);
    }
    // Far enough from a tie: six digits are finer than thousandths here, and do not make it one.
    let scaled = figure * 1_000.0;
    let (whole, from_tie) = split(scaled);
    if figure < 100.0 && from_tie.abs() > scaled * 6e-6 {
        return Some(whole + u64::from(from_tie > 0.0));
    }
    by_digits(figure)
}

/// A number of thousandths of what is from 1e-4 to below 1e9, by way of its six digits.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "at least 0 and below 2^53"
)]
fn by_digits(figure: f64) -> Option<u64> {
    // Most are of these sizes, and divided by what the compiler knows.
    match figure {
        10.0..100.0 => return Some((nearest(figure * 1e4) + 5) / 10),
        100.0..1e3 => return Some(nearest(figure * 1e3)),
        1e3..1e4 => return Some(nearest(figure * 1e2) * 10),
        _ => {}
    }
    let reaches = |limit: &&f64| figure >= **limit;
    if figure < 1e6 {
        let limits = [1e-3, 1e-2, 1e-1, 1e0, 1e1, 1e2, 1e3, 1e4, 1e5];
        let decimals = POWERS.len() - 1 - limits.iter().filter(reaches).count();
        let digits = nearest(figure * POWERS.get(decimals)?);
        let unit = *POWERS.get(decimals.abs_diff(3))? as u64;
        return Some(if decimals < 3 { digits * unit } else { (digits + unit / 2) / unit });
    }
    let zeros = 1 + [1e7, 1e8].iter().filter(reaches).count();
    let digits = nearest(figure / POWERS.get(zeros)?);
    Some(digits * *POWERS.get(zeros + 3)? as u64)
}

/// The whole part of a figure, and how far the rest is above a tie; below one it is less than zero.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "at least 0 and below 2^53"
)]
fn split(figure: f64) -> (u64, f64) {
    let whole = figure as u64;
    (whole, figure - whole as f64 - 0.5)
}

/// The nearest whole number, the even one of two, of what is below 2^51. Where processors of some age are
/// to be served, `round_ties_even` is a call into a library.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "at least 0 and below 2^53"
)]
fn nearest(figure: f64) -> u64 {
    // From here on, doubles have no fractions.
    const WHOLE: f64 = 4_503_599_627_370_496.0;
    (figure + WHOLE - WHOLE) as u64
}

/// A part in hundredths of a percent of all; None if Postgres has to be asked, or if there is nothing.
#[inline]
#[must_use]
pub fn hundredths_of_percent(part: i64, all: i64) -> Option<u64> {
    // Beyond that, a quotient has fewer digits than it takes to tell what is near a tie from a tie.
    const MOST: u64 = 100_000_000_000;
    let (part, all) = (u64::try_from(part).ok()?, u64::try_from(all).ok()?);
    (part <= MOST && (1..=MOST).contains(&all)).then(|| (20_000 * part + all) / (2 * all))
}

/// How many decimals a figure is shown with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decimals {
    /// Of counts.
    None,
    /// Of percents.
    Two,
    /// Of milliseconds.
    Three,
}

/// A numeric as Postgres has it, but for its length: a header, then its decimal digits in groups of four.
///
/// Those it has most often are one number, which is in a register and need not be read back from where its
/// parts were just written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numeric {
    first: u64,
    rest: [u16; 3],
    used: usize,
}

impl Numeric {
    /// A number of thousandths, hundredths or whole ones.
    ///
    /// The header is the short form: two bits that say so, one for the sign, six for how many decimals are
    /// shown, seven for which power of 10,000 the first group stands for. It is what tables have on disk,
    /// and therefore the same in all versions of Postgres.
    #[must_use]
    #[inline]
    #[allow(clippy::cast_possible_truncation, reason = "groups are below 10,000")]
    pub fn new(value: u64, decimals: Decimals) -> Self {
        // Divisors that the compiler knows are no divisions.
        let (whole, fraction, shown) = match decimals {
            Decimals::None => (value, 0, 0),
            Decimals::Two => (value / 100, (value % 100 * 100) as u16, 2),
            Decimals::Three => (value / 1_000, (value % 1_000 * 10) as u16, 3),
        };
        let header = 0x8000 | shown << 7;
        let (first, used) = match (whole, fraction) {
            (0, 0) => ([header, 0, 0, 0], 1),
            (0, _) => ([header | 0x7f, fraction, 0, 0], 2),
            (1..=9_999, _) => ([header, whole as u16, fraction, 0], 2 + usize::from(fraction != 0)),
            _ => return Self::long(header, whole, fraction),
        };
        Self { first: packed(first), rest: [0; 3], used }
    }

    /// One with more than four digits before the decimal point.
    #[allow(clippy::cast_possible_truncation, reason = "groups are below 10,000")]
    fn long(header: u16, mut whole: u64, fraction: u16) -> Self {
        let count = match whole {
            0..=9_999 => 1,
            10_000..=99_999_999 => 2,
            100_000_000..=999_999_999_999 => 3,
            1_000_000_000_000..=9_999_999_999_999_999 => 4,
            _ => 5,
        };
        let mut groups = [0; 6];
        let (before, behind) = groups.split_at_mut(count);
        for group in before.iter_mut().rev() {
            *group = (whole % 10_000) as u16;
            whole /= 10_000;
        }
        if let Some(group) = behind.first_mut() {
            *group = fraction;
        }
        // Groups of zeros are not kept at the end.
        let kept = groups.iter().rposition(|&group| group != 0).map_or(0, |last| last + 1);
        let [one, two, three, rest @ ..] = groups;
        let first = packed([header | (count as u16 - 1), one, two, three]);
        Self { first, rest, used: 1 + kept }
    }

    /// The first four words as they stand in memory, the three after them, and how many of all are used.
    #[must_use]
    #[inline]
    pub const fn parts(&self) -> (u64, [u16; 3], usize) {
        (self.first, self.rest, self.used)
    }
}

/// Four words as one number, which in memory is these words one after another.
#[inline]
fn packed(words: [u16; 4]) -> u64 {
    let place = |sum: u64, word: u16| {
        if cfg!(target_endian = "little") {
            sum >> 16 | u64::from(word) << 48
        } else {
            sum << 16 | u64::from(word)
        }
    };
    words.into_iter().fold(0, place)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// As Postgres does it: so many significant digits, then three decimals, ties away from zero.
    fn from_text(scientific: &str) -> u64 {
        let (digits, exponent) = scientific.split_once('e').unwrap();
        let exponent: i32 = exponent.parse().unwrap();
        let digits = digits.replace('.', "");
        let decimals = i32::try_from(digits.len()).unwrap() - 1 - exponent;
        let value: u128 = digits.parse().unwrap();
        let power = |by: i32| 10_u128.checked_pow(by.unsigned_abs()).unwrap_or(u128::MAX / 4);
        let thousandths = match decimals - 3 {
            more if more > 0 => (value + power(more) / 2) / power(more),
            less => value * power(less),
        };
        u64::try_from(thousandths).unwrap()
    }

    fn check(figure: f64) -> Result<(), TestCaseError> {
        if let Some(quick) = thousandths(figure) {
            prop_assert_eq!(quick, from_text(&format!("{figure:.14e}")), "{:?}", figure);
        }
        Ok(())
    }

    fn check_real(figure: f32) -> Result<(), TestCaseError> {
        let quick = thousandths_of_real(figure);
        prop_assert_eq!(quick, Some(from_text(&format!("{figure:.5e}"))), "{:?}", figure);
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(3_000))]

        #[test]
        fn doubles_round_as_in_postgres(figure in 0.0..1e10_f64, scale in 0_i32..16) {
            check(figure / 10_f64.powi(scale))?;
        }

        // Means, which are near ties as often as not.
        #[test]
        fn means_round_as_in_postgres(micros in 0_i64..10_000_000_000, runs in 1_i64..5_000) {
            #[allow(clippy::cast_precision_loss)]
            let (total, runs) = (micros as f64 / 1_000.0, runs as f64);
            check(total / runs)?;
            check(total / 8.0)?;
        }

        #[test]
        fn reals_round_as_in_postgres(figure in 0.0..1e9_f32, scale in 0_i32..16) {
            check_real(figure / 10_f32.powi(scale))?;
        }

        // The middles of buckets.
        #[test]
        fn middles_round_as_in_postgres(halves in 0_u32..1_000_000) {
            #[allow(clippy::cast_possible_truncation)]
            check_real((f64::from(halves) / 2_000.0) as f32)?;
        }

        #[test]
        fn percents_are_exact(part in 0_i64..2_000, all in 1_i64..2_000) {
            let doubled = u64::try_from(2 * (10_000 * part) / all).unwrap();
            prop_assert_eq!(hundredths_of_percent(part, all), Some(doubled.div_ceil(2)));
        }

        #[test]
        fn numerics_have_the_digits(value: u64) {
            for value in [value, value % 10_000_000, value / 10_000 * 10_000] {
                let numeric = Numeric::new(value, Decimals::Three);
                prop_assert_eq!(read(&numeric), Some(u128::from(value) * 10));
                let numeric = Numeric::new(value, Decimals::Two);
                prop_assert_eq!(read(&numeric), Some(u128::from(value) * 100));
            }
        }
    }

    fn words(numeric: &Numeric) -> Vec<u16> {
        let (first, rest, used) = numeric.parts();
        let mut bytes = first.to_ne_bytes().to_vec();
        bytes.extend(rest.iter().flat_map(|word| word.to_ne_bytes()));
        let words = bytes.chunks(2).map(|word| u16::from_ne_bytes(word.try_into().unwrap()));
        words.take(used).collect()
    }

    /// Its value in ten thousandths; None if it is not as Postgres keeps it.
    fn read(numeric: &Numeric) -> Option<u128> {
        let words = words(numeric);
        let (header, groups) = words.split_first()?;
        let weight = i32::from(header & 0x3f) - i32::from(header & 0x40);
        if groups.first() == Some(&0) || groups.last() == Some(&0) || header & 0xe000 != 0x8000 {
            return None;
        }
        let group = |(at, group): (usize, &u16)| {
            let power = u32::try_from(weight + 1 - i32::try_from(at).unwrap()).unwrap();
            u128::from(*group) * 10_000_u128.pow(power)
        };
        Some(groups.iter().enumerate().map(group).sum())
    }

    #[test]
    fn ties_go_away_from_zero_and_the_rest_is_left_to_postgres() {
        assert_eq!(thousandths(6.1725), Some(6_173));
        assert_eq!(thousandths(0.0005), Some(1));
        assert_eq!(thousandths_of_real(0.0475), Some(48));
        assert_eq!(thousandths_of_real(1_234_567.0), Some(1_234_570_000));
        assert_eq!(hundredths_of_percent(1, 800), Some(13));
        for odd in [f64::NAN, f64::INFINITY, -1.0, 1e12] {
            assert_eq!(thousandths(odd), None);
        }
        for odd in [f32::NAN, f32::INFINITY, -1.0, 1e9] {
            assert_eq!(thousandths_of_real(odd), None);
        }
        for (part, all) in [(0, 0), (-1, 5), (5, -1), (i64::MAX, 3), (3, i64::MAX)] {
            assert_eq!(hundredths_of_percent(part, all), None);
        }
    }

    #[test]
    fn numerics_are_as_on_disk() {
        let words = |value, decimals| words(&Numeric::new(value, decimals));
        assert_eq!(words(0, Decimals::Three), [0x8180]);
        assert_eq!(words(7_500, Decimals::Three), [0x8180, 7, 5_000]);
        assert_eq!(words(5, Decimals::Three), [0x81ff, 50]);
        assert_eq!(words(10_000_000, Decimals::Three), [0x8181, 1]);
        assert_eq!(words(9_990, Decimals::Two), [0x8100, 99, 9_000]);
        assert_eq!(words(4_711, Decimals::None), [0x8000, 4_711]);
        assert_eq!(words(120_000, Decimals::None), [0x8001, 12]);
        assert_eq!(words(u64::MAX, Decimals::None), [0x8004, 1_844, 6_744, 737, 955, 1_615]);
    }
}
