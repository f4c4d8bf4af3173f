//! What a run used of the server: its fields, and the text the ledger keeps of them.

use std::fmt::Write;

/// CPU time below this, in microseconds, is what any run costs, and is not mentioned.
const LEAST_CPU: i64 = 100;

/// The figure that is shown in milliseconds.
const CPU: &str = "cpu_ms";

/// What a run used of the server, from its start to just before its row was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of WAL, full-page images included.
    pub wal_bytes: i64,
    /// WAL records.
    pub wal_records: i64,
    /// Blocks of tables and indexes found in shared buffers.
    pub shared_hit: i64,
    /// Blocks that had to be read.
    pub shared_read: i64,
    /// Blocks it was the first to change.
    pub shared_dirtied: i64,
    /// Blocks it had to write out itself.
    pub shared_written: i64,
    /// Bytes written to temporary files.
    pub temp_bytes: i64,
    /// Microseconds of CPU time of its process, user and system.
    pub cpu_us: i64,
    /// Rows all its statements together returned or changed.
    pub rows: i64,
}

/// A figure as the ledger shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figure {
    /// A whole number.
    Whole(u64),
    /// A number of thousandths.
    Thousandths(u64),
}

impl Usage {
    /// How many fields there are.
    pub const FIELDS: usize = 9;

    /// The fields in a fixed order.
    #[must_use]
    pub const fn to_array(&self) -> [i64; Self::FIELDS] {
        [
            self.wal_bytes,
            self.wal_records,
            self.shared_hit,
            self.shared_read,
            self.shared_dirtied,
            self.shared_written,
            self.temp_bytes,
            self.cpu_us,
            self.rows,
        ]
    }

    /// The usage with these fields, in the order of [`Self::to_array`].
    #[must_use]
    pub const fn from_array(fields: [i64; Self::FIELDS]) -> Self {
        let [
            wal_bytes,
            wal_records,
            shared_hit,
            shared_read,
            shared_dirtied,
            shared_written,
            temp_bytes,
            cpu_us,
            rows,
        ] = fields;
        Self {
            wal_bytes,
            wal_records,
            shared_hit,
            shared_read,
            shared_dirtied,
            shared_written,
            temp_bytes,
            cpu_us,
            rows,
        }
    }

    /// What was used since an earlier reading of the same counters.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        self.with(earlier, i64::saturating_sub)
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        self.with(other, i64::saturating_add)
    }

    fn with(self, other: Self, combine: fn(i64, i64) -> i64) -> Self {
        let (mut fields, others) = (self.to_array(), other.to_array());
        for (field, other) in fields.iter_mut().zip(others) {
            *field = combine(*field, other);
        }
        Self::from_array(fields)
    }

    /// What the ledger mentions, in the order in which `jsonb` stores keys: by length, then by byte.
    /// Left out is what is zero, CPU time below a tenth of a millisecond, and the number of rows where
    /// it is `row_count`, which has a column of its own.
    pub fn figures(&self, row_count: Option<i64>) -> impl Iterator<Item = (&'static str, Figure)> {
        let rows = if row_count == Some(self.rows) { 0 } else { self.rows };
        let cpu = if self.cpu_us < LEAST_CPU { 0 } else { self.cpu_us };
        let all = [
            ("rows", rows),
            (CPU, cpu),
            ("wal_bytes", self.wal_bytes),
            ("shared_hit", self.shared_hit),
            ("temp_bytes", self.temp_bytes),
            ("shared_read", self.shared_read),
            ("wal_records", self.wal_records),
            ("shared_dirtied", self.shared_dirtied),
            ("shared_written", self.shared_written),
        ];
        all.into_iter().filter_map(|(key, figure)| {
            let figure = u64::try_from(figure).ok().filter(|&figure| figure > 0)?;
            Some((
                key,
                if key == CPU { Figure::Thousandths(figure) } else { Figure::Whole(figure) },
            ))
        })
    }

    /// The figures as a JSON object; None if there are none.
    #[must_use]
    pub fn json(&self, row_count: Option<i64>) -> Option<String> {
        let mut text = String::new();
        for (key, figure) in self.figures(row_count) {
            text.push(if text.is_empty() { '{' } else { ',' });
            // Writing to a String does not fail.
            let _ = match figure {
                Figure::Whole(n) => write!(text, "\"{key}\":{n}"),
                Figure::Thousandths(n) => {
                    write!(text, "\"{key}\":{}.{:03}", n / 1000, n % 1000)
                }
            };
        }
        if text.is_empty() {
            return None;
        }
        text.push('}');
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_nothing_is_left_out() {
        let cheap = Usage { cpu_us: 99, rows: 1, ..Usage::default() };
        assert_eq!(cheap.json(Some(1)), None);
        assert_eq!(cheap.json(None).as_deref(), Some("{\"rows\":1}"));
        let dear = Usage { wal_bytes: 120, wal_records: 2, cpu_us: 12_034, ..Usage::default() };
        assert_eq!(
            dear.json(Some(0)).as_deref(),
            Some("{\"cpu_ms\":12.034,\"wal_bytes\":120,\"wal_records\":2}")
        );
    }

    #[test]
    fn keys_are_in_the_order_of_jsonb() {
        let all = Usage::from_array([1, 2, 3, 4, 5, 6, 7, 1000, 9]);
        let keys: Vec<&str> = all.figures(None).map(|(key, _)| key).collect();
        let mut sorted = keys.clone();
        sorted.sort_by_key(|key| (key.len(), *key));
        assert_eq!(keys, sorted);
        assert_eq!(keys.len(), Usage::FIELDS);
    }

    #[test]
    fn fields_survive_the_array() {
        let fields = [1, 2, 3, 4, 5, 6, 7, 8, 9];
        let usage = Usage::from_array(fields);
        assert_eq!(usage.to_array(), fields);
        assert_eq!(usage.plus(usage).since(usage), usage);
    }
}
