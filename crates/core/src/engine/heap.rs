//! A binary heap whose members can be found again.
//!
//! Invariant: `positions` says, for every member of a heap, where in `entries` it stands. So a
//! member can be moved or removed in O(log n) and no dead entry is ever left behind, which a heap
//! with lazy deletion cannot say of a job that is changed a million times. Nothing is allocated
//! once the vectors have grown to size.

/// Where each id stands in the one heap of its kind that holds it.
///
/// Several heaps may share one table as long as an id is in at most one of them at a time.
#[derive(Debug, Default)]
pub(super) struct Positions(Vec<u32>);

const NOWHERE: u32 = u32::MAX;

impl Positions {
    fn get(&self, id: u32) -> u32 {
        self.0.get(id as usize).copied().unwrap_or(NOWHERE)
    }

    fn set(&mut self, id: u32, at: usize) {
        let id = id as usize;
        if id >= self.0.len() {
            self.0.resize(id + 1, NOWHERE);
        }
        if let Some(place) = self.0.get_mut(id) {
            *place = u32::try_from(at).unwrap_or(NOWHERE);
        }
    }

    fn clear(&mut self, id: u32) {
        if let Some(place) = self.0.get_mut(id as usize) {
            *place = NOWHERE;
        }
    }
}

/// Ids in the order of their keys, smallest first. Equal keys come in no particular order.
#[derive(Debug)]
pub(super) struct Heap<K> {
    entries: Vec<(K, u32)>,
}

impl<K> Default for Heap<K> {
    fn default() -> Self {
        Self { entries: Vec::new() }
    }
}

impl<K: Ord + Copy> Heap<K> {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn peek(&self) -> Option<(K, u32)> {
        self.entries.first().copied()
    }

    /// The keys of its members, in no particular order.
    pub(super) fn keys(&self) -> impl Iterator<Item = K> {
        self.entries.iter().map(|entry| entry.0)
    }

    /// Shows its members with keys up to `most`, but no more than `left` of them, in no particular order.
    pub(super) fn up_to(&self, most: K, mut left: usize, mut show: impl FnMut(K, u32)) {
        self.below(0, most, &mut left, &mut show);
    }

    fn below(&self, at: usize, most: K, left: &mut usize, show: &mut impl FnMut(K, u32)) {
        let Some(&(key, id)) = self.entries.get(at).filter(|entry| entry.0 <= most) else { return };
        let Some(rest) = left.checked_sub(1) else { return };
        *left = rest;
        show(key, id);
        self.below(2 * at + 1, most, left, show);
        self.below(2 * at + 2, most, left, show);
    }

    /// The key of `id`, if it is in.
    pub(super) fn key(&self, positions: &Positions, id: u32) -> Option<K> {
        self.find(positions, id).map(|(_, key)| key)
    }

    /// Puts `id` in, or moves it to a new key.
    pub(super) fn set(&mut self, positions: &mut Positions, id: u32, key: K) {
        match self.find(positions, id) {
            None => {
                self.entries.push((key, id));
                self.up(positions, self.entries.len() - 1, (key, id));
            }
            Some((at, old)) if key < old => self.up(positions, at, (key, id)),
            Some((at, old)) if key > old => self.down(positions, at, (key, id)),
            Some(_) => {}
        }
    }

    /// Takes `id` out; false if it was not in.
    pub(super) fn remove(&mut self, positions: &mut Positions, id: u32) -> bool {
        let Some((at, old)) = self.find(positions, id) else { return false };
        positions.clear(id);
        if let Some(last) = self.entries.pop()
            && at < self.entries.len()
        {
            if last.0 < old {
                self.up(positions, at, last);
            } else {
                self.down(positions, at, last);
            }
        }
        true
    }

    pub(super) fn pop(&mut self, positions: &mut Positions) -> Option<(K, u32)> {
        let top = self.peek()?;
        self.remove(positions, top.1);
        Some(top)
    }

    fn find(&self, positions: &Positions, id: u32) -> Option<(usize, K)> {
        let at = positions.get(id) as usize;
        self.entries.get(at).filter(|entry| entry.1 == id).map(|entry| (at, entry.0))
    }

    fn place(&mut self, positions: &mut Positions, at: usize, entry: (K, u32)) {
        if let Some(place) = self.entries.get_mut(at) {
            *place = entry;
            positions.set(entry.1, at);
        }
    }

    fn up(&mut self, positions: &mut Positions, mut at: usize, entry: (K, u32)) {
        while at > 0 {
            let parent = (at - 1) / 2;
            match self.entries.get(parent) {
                Some(&above) if entry.0 < above.0 => self.place(positions, at, above),
                _ => break,
            }
            at = parent;
        }
        self.place(positions, at, entry);
    }

    fn down(&mut self, positions: &mut Positions, mut at: usize, entry: (K, u32)) {
        loop {
            let left = 2 * at + 1;
            let Some(&first) = self.entries.get(left) else { break };
            let (child, below) = match self.entries.get(left + 1) {
                Some(&second) if second.0 < first.0 => (left + 1, second),
                _ => (left, first),
            };
            if below.0 >= entry.0 {
                break;
            }
            self.place(positions, at, below);
            at = child;
        }
        self.place(positions, at, entry);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn behaves_like_an_ordered_map(steps in proptest::collection::vec((0u32..20, 0u8..4, 0i64..50), 0..200)) {
            let (mut heap, mut positions, mut model) =
                (Heap::default(), Positions::default(), BTreeMap::new());
            for (id, step, key) in steps {
                match step {
                    0 | 1 => {
                        heap.set(&mut positions, id, (key, id));
                        model.insert(id, key);
                    }
                    2 => prop_assert_eq!(heap.remove(&mut positions, id), model.remove(&id).is_some()),
                    _ => {
                        let popped = heap.pop(&mut positions).map(|(key, _)| key);
                        let least = model.iter().map(|(&id, &key)| (key, id)).min();
                        prop_assert_eq!(popped, least);
                        if let Some((_, id)) = least {
                            model.remove(&id);
                        }
                    }
                }
                prop_assert_eq!(heap.len(), model.len());
                let least = model.iter().map(|(&id, &key)| (key, id)).min();
                prop_assert_eq!(heap.peek().map(|(key, _)| key), least);
            }
        }
    }
}
