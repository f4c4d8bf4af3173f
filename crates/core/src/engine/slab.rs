//! Records addressed by small numbers.
//!
//! Invariant: looking up a number never panics. A number that stands for no record (a bug) reads
//! and writes a spare record instead, so a mistake here costs one job its turn, never the scheduler
//! its life; debug builds stop at once.

use std::ops::{Index, IndexMut};

/// A vector of records with reuse of freed numbers.
#[derive(Debug, Default)]
pub(super) struct Slab<T> {
    records: Vec<T>,
    free: Vec<u32>,
    spare: T,
}

impl<T: Default> Slab<T> {
    /// Stores a record and gives its number.
    pub(super) fn insert(&mut self, record: T) -> u32 {
        if let Some(id) = self.free.pop() {
            self[id] = record;
            return id;
        }
        self.records.push(record);
        // u32::MAX records would need hundreds of gigabytes; the spare record takes what is beyond.
        u32::try_from(self.records.len() - 1).unwrap_or(u32::MAX)
    }

    /// Forgets a record; its number is given out again.
    pub(super) fn remove(&mut self, id: u32) {
        self[id] = T::default();
        self.free.push(id);
    }

    /// Makes numbers `0..=id` valid.
    pub(super) fn reach(&mut self, id: u32) {
        while self.records.len() <= id as usize {
            self.records.push(T::default());
        }
    }

    pub(super) fn lookup(&self, id: u32) -> Option<&T> {
        self.records.get(id as usize)
    }

    pub(super) fn lookup_mut(&mut self, id: u32) -> Option<&mut T> {
        self.records.get_mut(id as usize)
    }

    /// All numbers that were ever valid, in order; freed ones hold default records.
    pub(super) fn ids(&self) -> std::ops::Range<u32> {
        0..u32::try_from(self.records.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn iter(&self) -> std::slice::Iter<'_, T> {
        self.records.iter()
    }
}

impl<T> Index<u32> for Slab<T> {
    type Output = T;
    fn index(&self, id: u32) -> &T {
        debug_assert!((id as usize) < self.records.len(), "no record {id}");
        self.records.get(id as usize).unwrap_or(&self.spare)
    }
}

impl<T> IndexMut<u32> for Slab<T> {
    fn index_mut(&mut self, id: u32) -> &mut T {
        debug_assert!((id as usize) < self.records.len(), "no record {id}");
        self.records.get_mut(id as usize).unwrap_or(&mut self.spare)
    }
}
