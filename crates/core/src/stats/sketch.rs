//! How long runs took and how late they started, as a histogram that can be merged.
//!
//! A value is a number of microseconds. Up to 31 each has a bucket of its own; beyond that every power
//! of two is divided into sixteen buckets of one width. A bucket stands for its middle, which is at most
//! [`ERROR`] of the value away from every value in it. Values beyond two years count as two years, so
//! there are never more than [`BUCKETS`] buckets, however many values.
//!
//! Owns one invariant: merging is exact. The histogram of two lots of values is the merged histogram of
//! the two, in whatever order, so nothing is lost by adding piece by piece. That and the size of its
//! bytes, one or two for each bucket that is not empty, are what libraries for quantiles lack: those of
//! `DDSketch` keep a kilobyte in memory for a single value and write fifty bytes of their parameters.

/// How far a quantile can be from the true value, as a part of that.
pub const ERROR: f64 = 1.0 / 32.0;

/// Buckets of each power of two, as a power of two.
const PARTS: u32 = 4;
/// Values from here on, in microseconds, are taken for the one before: 2.2 years.
const LIMIT: u64 = 1 << 46;
/// Most buckets there can be.
pub const BUCKETS: usize = 43 << PARTS;

/// The first byte of a stored sketch.
const VERSION: u8 = 1;

/// A histogram of durations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sketch {
    /// Buckets that are not empty, by number, each with how many values it has.
    buckets: Vec<(u16, u64)>,
}

/// The bucket of a value.
fn bucket(value: u64) -> u16 {
    let value = value.min(LIMIT - 1);
    let power = value.checked_ilog2().unwrap_or(0);
    let shift = power.saturating_sub(PARTS);
    let steps = (u64::from(shift) << PARTS) + (value >> shift);
    u16::try_from(steps).unwrap_or(u16::MAX)
}

/// The middle of a bucket.
#[allow(clippy::cast_precision_loss, reason = "below 2^47")]
fn middle(bucket: u16) -> f64 {
    let bucket = u64::from(bucket);
    let shift = (bucket >> PARTS).saturating_sub(1);
    let first = (bucket - (shift << PARTS)) << shift;
    let last = first + (1 << shift) - 1;
    (first + last) as f64 / 2.0
}

impl Sketch {
    /// Adds a value; less than nothing counts as nothing.
    pub fn add(&mut self, micros: i64) {
        self.add_to(bucket(micros.max(0).cast_unsigned()), 1);
    }

    fn add_to(&mut self, bucket: u16, count: u64) {
        match self.buckets.binary_search_by_key(&bucket, |&(number, _)| number) {
            Ok(at) => {
                if let Some((_, values)) = self.buckets.get_mut(at) {
                    *values = values.saturating_add(count);
                }
            }
            Err(at) => {
                if self.buckets.is_empty() {
                    // Most jobs have run once since they were counted last, and there may be many.
                    self.buckets.reserve_exact(1);
                }
                self.buckets.insert(at, (bucket, count));
            }
        }
    }

    /// Adds all values of another one.
    pub fn merge(&mut self, other: &Self) {
        for &(bucket, count) in &other.buckets {
            self.add_to(bucket, count);
        }
    }

    /// How many values there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().fold(0, |sum: u64, &(_, count)| sum.saturating_add(count))
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.buckets.is_empty()
    }

    /// The smallest value that is not below this part of all, in microseconds: 0.5 for the median. None if
    /// there are no values.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "counts below 2^53, and error is stated anyway")]
    pub fn quantile(&self, part: f64) -> Option<f64> {
        let wanted = part.clamp(0.0, 1.0) * self.count() as f64;
        let mut seen = 0_u64;
        let mut found = None;
        for &(bucket, count) in &self.buckets {
            found = Some(middle(bucket));
            seen = seen.saturating_add(count);
            if seen as f64 >= wanted && seen > 0 {
                break;
            }
        }
        found
    }

    /// The bytes it is stored as; none for an empty one.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        if self.is_empty() {
            return Vec::new();
        }
        let mut bytes = Vec::with_capacity(1 + 3 * self.buckets.len());
        bytes.push(VERSION);
        let mut next = 0;
        for &(bucket, count) in &self.buckets {
            put(&mut bytes, u64::from(bucket - next));
            put(&mut bytes, count);
            next = bucket + 1;
        }
        bytes
    }

    /// The sketch that was stored as these bytes; None if they are none of [`Self::to_bytes`].
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let Some((&version, mut rest)) = bytes.split_first() else { return Some(Self::default()) };
        if version != VERSION || rest.is_empty() {
            return None;
        }
        let mut buckets = Vec::with_capacity((rest.len() / 2).min(BUCKETS));
        let mut next = 0_u64;
        while !rest.is_empty() {
            let bucket = next.checked_add(take(&mut rest)?)?;
            let count = take(&mut rest)?;
            if count == 0 || usize::try_from(bucket).ok()? >= BUCKETS {
                return None;
            }
            buckets.push((u16::try_from(bucket).ok()?, count));
            next = bucket + 1;
        }
        Some(Self { buckets })
    }
}

/// Appends a number, seven bits to a byte, the lowest first.
fn put(bytes: &mut Vec<u8>, mut number: u64) {
    loop {
        let low = u8::try_from(number & 0x7f).unwrap_or(0);
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return;
        }
        bytes.push(low | 0x80);
    }
}

/// Takes such a number off the front; None if there is none, or it could have been shorter.
fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    let mut shift = 0_u32;
    loop {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let part = u64::from(byte & 0x7f);
        if shift > 63 || part << shift >> shift != part {
            return None;
        }
        number |= part << shift;
        if byte & 0x80 == 0 {
            return (byte != 0 || shift == 0).then_some(number);
        }
        shift += 7;
    }
}

/// Two stored sketches as one; None if one of them is no sketch.
#[must_use]
pub fn merge(one: &[u8], other: &[u8]) -> Option<Vec<u8>> {
    let mut merged = Sketch::from_bytes(one)?;
    merged.merge(&Sketch::from_bytes(other)?);
    Some(merged.to_bytes())
}

/// What was kept and what comes to it. Bytes that are no sketch count as no values: nothing that somebody
/// wrote into a table keeps others from being counted.
#[must_use]
pub fn add(kept: &[u8], more: &[u8]) -> Vec<u8> {
    let mut sum = Sketch::from_bytes(kept).unwrap_or_default();
    sum.merge(&Sketch::from_bytes(more).unwrap_or_default());
    sum.to_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sketch(values: &[i64]) -> Sketch {
        let mut sketch = Sketch::default();
        for &value in values {
            sketch.add(value);
        }
        sketch
    }

    fn values() -> impl Strategy<Value = Vec<i64>> {
        let any = prop_oneof![0_i64..100, 0_i64..60_000_000, 0_i64..(1 << 46), any::<i64>()];
        prop::collection::vec(any, 0..200)
    }

    #[test]
    fn buckets_follow_one_another_without_a_gap() {
        let mut value = 0_u64;
        let mut last = bucket(0);
        assert_eq!(last, 0);
        while value < LIMIT + 10_000 {
            value += 1 + value / 300;
            let next = bucket(value);
            assert!(next == last || next == last + 1, "{value}: {last} then {next}");
            last = next;
        }
        assert_eq!(usize::from(last) + 1, BUCKETS);
        assert_eq!(bucket(u64::MAX), last);
    }

    #[test]
    fn a_bucket_stands_for_what_is_in_it() {
        for value in (0..32).chain([100, 999, 1_000_000, 3_600_000_000, LIMIT - 1]) {
            #[allow(clippy::cast_precision_loss)]
            let true_value = value as f64;
            let middle = middle(bucket(value));
            assert!((middle - true_value).abs() <= ERROR * true_value, "{value}: {middle}");
            assert!(value >= 32 || (middle - true_value).abs() < f64::EPSILON, "{value}: {middle}");
        }
    }

    #[test]
    fn no_values_have_no_quantile() {
        assert_eq!(Sketch::default().quantile(0.5), None);
        assert_eq!(Sketch::default().to_bytes(), Vec::<u8>::new());
        assert_eq!(sketch(&[7]).quantile(0.0), Some(7.0));
        assert_eq!(sketch(&[7, 9]).quantile(f64::NAN), Some(9.0));
        assert_eq!(sketch(&[-5]).quantile(1.0), Some(0.0));
    }

    #[test]
    fn a_steady_job_takes_few_bytes() {
        // a day of one run each minute, of 40 to 60 ms
        let day: Vec<i64> = (0..1440).map(|n| 40_000 + n * 20_000 / 1440).collect();
        assert!(sketch(&day).to_bytes().len() < 40, "{}", sketch(&day).to_bytes().len());
    }

    #[test]
    fn strange_bytes_are_no_sketch() {
        let strange: [&[u8]; 7] = [
            &[0],
            &[1],
            &[2, 0, 1],
            &[1, 0],             // no count
            &[1, 0, 0],          // a bucket of nothing
            &[1, 0x80, 0, 1],    // a number written longer than it is
            &[1, 0xff, 0x7f, 1], // a bucket there is not
        ];
        for bytes in strange {
            assert_eq!(Sketch::from_bytes(bytes), None, "{bytes:?}");
        }
        let long = [&[1, 0][..], &[0xff; 9], &[3]].concat();
        assert_eq!(Sketch::from_bytes(&long), None);
        assert_eq!(merge(&[9, 9], &[1, 5, 1]), None);
        assert_eq!(merge(&[1, 5, 1], &[9, 9]), None);
        assert_eq!(add(&[9, 9], &[1, 5, 1]), [1, 5, 1]);
        assert_eq!(add(&[1, 5, 1], &[9, 9]), [1, 5, 1]);
    }

    proptest! {
        #[test]
        fn quantiles_are_as_exact_as_is_said(
            mut values in prop::collection::vec(prop_oneof![0_i64..100, 0_i64..90_000_000, 0_i64..(1 << 46)], 1..300),
            part in prop_oneof![Just(0.5), Just(0.95), Just(0.99), 0.0_f64..=1.0],
        ) {
            let found = sketch(&values).quantile(part).unwrap();
            values.sort_unstable();
            #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let rank = ((part * values.len() as f64).ceil() as usize).max(1);
            #[allow(clippy::cast_precision_loss)]
            let exact = values[rank - 1] as f64;
            prop_assert!((found - exact).abs() <= ERROR * exact, "{found} for {exact}");
        }

        #[test]
        fn merging_is_adding(one in values(), other in values(), third in values()) {
            let all = sketch(&[one.clone(), other.clone(), third.clone()].concat());
            let [one, other, third] = [one, other, third].map(|values| sketch(&values).to_bytes());
            let merge = |one: &[u8], other: &[u8]| merge(one, other).unwrap();
            prop_assert_eq!(&merge(&merge(&one, &other), &third), &all.to_bytes());
            prop_assert_eq!(merge(&one, &merge(&other, &third)), all.to_bytes());
            prop_assert_eq!(merge(&one, &other), merge(&other, &one));
            prop_assert_eq!(add(&one, &other), merge(&one, &other));
            prop_assert_eq!(merge(&one, &[]), one);
        }

        #[test]
        fn what_is_stored_comes_back(values in values()) {
            let sketch = sketch(&values);
            let bytes = sketch.to_bytes();
            prop_assert_eq!(Sketch::from_bytes(&bytes), Some(sketch.clone()));
            prop_assert_eq!(sketch.count(), values.len() as u64);
            prop_assert!(bytes.len() <= 1 + 4 * BUCKETS);
        }

        #[test]
        fn any_bytes_are_a_sketch_or_refused(
            bytes in prop::collection::vec(any::<u8>(), 0..60), kept in values(), part in 0.0_f64..=1.0,
        ) {
            no_harm(&bytes, &sketch(&kept), part)?;
        }

        // Nearly all of the others are refused for their first byte.
        #[test]
        fn damaged_sketches_are_sketches_or_refused(
            values in values(),
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
            cut in prop::option::of(any::<prop::sample::Index>()),
            kept in values(),
            part in 0.0_f64..=1.0,
        ) {
            let mut bytes = sketch(&values).to_bytes();
            for (at, byte) in damage {
                if !bytes.is_empty() {
                    let at = at.index(bytes.len());
                    bytes[at] = byte;
                }
            }
            if let Some(cut) = cut {
                bytes.truncate(cut.index(bytes.len() + 1));
            }
            no_harm(&bytes, &sketch(&kept), part)?;
        }

        // However long what is no sketch goes on, no more is kept of it than a sketch can have.
        #[test]
        fn what_is_read_has_a_bound(pair in any::<[u8; 2]>(), times in 0_usize..100_000) {
            let bytes = [&[VERSION][..], &pair.repeat(times)].concat();
            if let Some(read) = Sketch::from_bytes(&bytes) {
                prop_assert!(read.buckets.len() <= BUCKETS && bytes.len() <= MOST_BYTES);
            }
        }
    }

    /// The most bytes of a sketch: a version, and for each bucket a step of two bytes and a count of ten.
    const MOST_BYTES: usize = 1 + 12 * BUCKETS;

    /// Bytes are either refused by all that reads them, or they are what their sketch is stored as, and
    /// everything that is said of it fits.
    fn no_harm(bytes: &[u8], kept: &Sketch, part: f64) -> Result<(), TestCaseError> {
        let stored = kept.to_bytes();
        let Some(read) = Sketch::from_bytes(bytes) else {
            prop_assert_eq!(merge(&stored, bytes), None);
            prop_assert_eq!(merge(bytes, &stored), None);
            prop_assert_eq!(add(bytes, &stored), stored.clone());
            prop_assert_eq!(add(&stored, bytes), stored);
            return Ok(());
        };
        prop_assert_eq!(read.to_bytes(), bytes);
        prop_assert!(read.buckets.windows(2).all(|pair| pair[0].0 < pair[1].0));
        prop_assert_eq!(read.quantile(part).is_none(), bytes.is_empty());
        if let Some(value) = read.quantile(part) {
            #[allow(clippy::cast_precision_loss)]
            let limit = LIMIT as f64;
            prop_assert!((0.0..limit).contains(&value), "{value}");
            prop_assert!(read.quantile(0.0) <= Some(value) && Some(value) <= read.quantile(1.0));
        }
        let merged = merge(bytes, &stored).unwrap();
        prop_assert!(merged.len() <= MOST_BYTES);
        let merged = Sketch::from_bytes(&merged).unwrap();
        prop_assert_eq!(merged.count(), read.count().saturating_add(kept.count()));
        Ok(())
    }
}
