//! What each key lacks and whose turn it is.
//!
//! Invariant: `Key::need` is what `need_of` says, the key stands in exactly the heaps its need
//! calls for, and its owner stands in `ready_owners` and `want_owners` with its present rank.
//! Whoever changes a key's jobs, executors or questions calls `refresh_key` afterwards.

use super::state::{Head, Key, Need, Owner};
use super::types::PoolKey;
use super::{Engine, GROWTH_DELAY, QUICK_RUN};
use crate::time::Timestamp;

impl Engine {
    /// The number of a key, made known if it is not. A new one has no references yet.
    pub(super) fn key_for(&mut self, key: PoolKey) -> u32 {
        if let Some(&number) = self.key_ids.get(&key) {
            return number;
        }
        let owner = match self.owner_ids.get(&key.role) {
            Some(&owner) => owner,
            None => {
                let owner = self.owners.insert(Owner { role: key.role, ..Owner::default() });
                self.owner_ids.insert(key.role, owner);
                owner
            }
        };
        let record = &mut self.owners[owner];
        record.keys += 1;
        record.sql_keys += u32::from(!key.is_http());
        self.totals.sql_owners += u32::from(!key.is_http() && record.sql_keys == 1);
        let number = self.keys.insert(Key { key, owner, ..Key::default() });
        self.key_ids.insert(key, number);
        number
    }

    /// One user of the key less; the last one takes it along.
    pub(super) fn release_key(&mut self, number: u32) {
        let key = &mut self.keys[number];
        key.refs = key.refs.saturating_sub(1);
        if key.refs > 0 {
            return;
        }
        let (pool_key, owner) = (key.key, key.owner);
        self.key_ids.remove(&pool_key);
        self.keys.remove(number);
        let record = &mut self.owners[owner];
        record.keys = record.keys.saturating_sub(1);
        record.sql_keys -= u32::from(!pool_key.is_http());
        self.totals.sql_owners -= u32::from(!pool_key.is_http() && record.sql_keys == 0);
        if record.keys == 0 {
            let role = record.role;
            self.owner_ids.remove(&role);
            self.owners.remove(owner);
        }
    }

    fn need_of(&self, number: u32) -> (Need, Option<Head>, Timestamp) {
        let key = &self.keys[number];
        let Some((head, first)) = key.jobs.peek().filter(|_| key.failing == 0) else {
            return (Need::Quiet, None, self.now);
        };
        if !key.idle.is_empty() {
            return (Need::Ready, Some(head), self.now);
        }
        if key.live + key.starting == 0 {
            let at = key.no_growth_before.unwrap_or(self.now);
            let need = if at <= self.now { Need::Bare } else { Need::Delayed };
            return (need, Some(head), at);
        }
        let useful = (key.live as usize).min(key.jobs.len());
        if useful <= key.starting as usize {
            return (Need::Served, Some(head), self.now);
        }
        let mut waited = self.jobs[first].eligible_since.plus(GROWTH_DELAY);
        if self.is_quick(key) {
            // Another process would only take turns with these; unless all of them are stuck.
            waited = waited.max(key.handed_at.plus(GROWTH_DELAY));
        }
        let short_at = key.no_growth_before.map_or(waited, |at| at.max(waited));
        let need = if short_at <= self.now { Need::Short } else { Need::Delayed };
        (need, Some(head), short_at)
    }

    /// Whether the key has an executor for each core, and its runs are so short that they hardly
    /// leave a core idle.
    fn is_quick(&self, key: &Key) -> bool {
        key.live >= self.cores && (1..QUICK_RUN * 16).contains(&key.mean_run)
    }

    /// Puts a key where it now belongs.
    pub(super) fn refresh_key(&mut self, number: u32) {
        if self.keys[number].key.is_http() {
            return self.refresh_http(number);
        }
        let (need, head, short_at) = self.need_of(number);
        let key = &mut self.keys[number];
        let before = std::mem::replace(&mut key.need, need);
        let owner = &mut self.owners[key.owner];
        let places = &mut self.places;
        match head.filter(|_| need == Need::Ready) {
            Some(head) => owner.ready.set(&mut places.ready_keys, number, head),
            None if before == Need::Ready => {
                owner.ready.remove(&mut places.ready_keys, number);
            }
            None => {}
        }
        match head.filter(|_| need.wants()) {
            Some(head) => {
                owner.want.set(&mut places.want_keys, number, (need == Need::Short, head));
            }
            None if before.wants() => {
                owner.want.remove(&mut places.want_keys, number);
            }
            None => {}
        }
        if need == Need::Delayed {
            self.delayed.set(&mut places.delayed, number, short_at);
        } else if before == Need::Delayed {
            self.delayed.remove(&mut places.delayed, number);
        }
        let owner_number = key.owner;
        if need == Need::Quiet && std::mem::take(&mut key.expiry_held) {
            for at in 0..key.idle.len() {
                if let Some(&idle) = self.keys[number].idle.get(at) {
                    self.plan_expiry(idle);
                }
            }
        }
        self.count_need(owner_number, before, need);
        self.refresh_owner(owner_number);
    }

    fn count_need(&mut self, owner: u32, before: Need, need: Need) {
        let totals = &mut self.totals;
        totals.ready_keys += u32::from(need == Need::Ready);
        totals.ready_keys -= u32::from(before == Need::Ready);
        totals.bare_keys += u32::from(need == Need::Bare);
        totals.bare_keys -= u32::from(before == Need::Bare);
        let owner = &mut self.owners[owner];
        owner.waiting_keys += u32::from(need != Need::Quiet);
        owner.waiting_keys -= u32::from(before != Need::Quiet);
    }

    /// Gives an owner its present rank.
    pub(super) fn refresh_owner(&mut self, number: u32) {
        let owner = &mut self.owners[number];
        let active = owner.running > 0 || owner.waiting_keys > 0;
        self.totals.active_owners += u32::from(active);
        self.totals.active_owners -= u32::from(owner.counted);
        owner.counted = active;
        let most = self.limits.max_running_per_role;
        let may = |load: u32| most == 0 || load < most;
        let load = owner.running + owner.starting;
        let ready = owner.ready.peek().filter(|_| may(owner.running));
        let ready = ready.map(|(head, _)| owner.rank(owner.running, head));
        let want = owner.want.peek().filter(|_| may(load));
        let want = want.map(|((_, head), _)| owner.rank(load, head));
        match ready {
            Some(rank) => self.ready_owners.set(&mut self.places.ready_owners, number, rank),
            None => {
                self.ready_owners.remove(&mut self.places.ready_owners, number);
            }
        }
        match want {
            Some(rank) => self.want_owners.set(&mut self.places.want_owners, number, rank),
            None => {
                self.want_owners.remove(&mut self.places.want_owners, number);
            }
        }
    }

    /// Turns keys whose delay is over into short ones.
    pub(super) fn end_delays(&mut self) {
        while let Some((at, key)) = self.delayed.peek()
            && at <= self.now
        {
            self.refresh_key(key);
        }
    }
}
