//! Random choices that a seed repeats: splitmix64, as published by Steele, Lea and Flood (2014).

#[derive(Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from `from` up to, but not including, `to`.
    pub(crate) fn within(&mut self, from: i64, to: i64) -> i64 {
        let span = u64::try_from(to - from).expect("a range that is not empty");
        from + i64::try_from(self.next() % span).expect("less than the span")
    }

    /// One of these; `None` if there are none.
    pub(crate) fn of<T: Clone>(&mut self, these: &[T]) -> Option<T> {
        let count = i64::try_from(these.len()).expect("a length");
        (count > 0)
            .then(|| these[usize::try_from(self.within(0, count)).expect("an index")].clone())
    }
}
