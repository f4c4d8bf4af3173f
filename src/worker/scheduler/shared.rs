//! What many jobs have in common, kept once: a scheduler may hold 100,000 of them.
//!
//! Invariant: what is kept under a text is a pure function of that text, until
//! [`Shared::forget_instants`] says that the settings schedules are read with have changed.

use std::collections::{HashMap, HashSet};
use std::ffi::{CStr, CString};
use std::rc::Rc;
use std::sync::Arc;

use pg_tock_core::engine::Occurrences;

/// So many are kept at least before it is looked which of them nobody uses any more.
const TIDY_FROM: usize = 1_024;

/// Names and instants that several jobs have.
#[derive(Debug, Default)]
pub(super) struct Shared {
    names: HashSet<Rc<CStr>>,
    instants: HashMap<Rc<str>, Arc<dyn Occurrences>>,
    /// How many there may be before it is tidied up.
    room: usize,
}

impl Shared {
    /// The name of a database or role.
    pub(super) fn name(&mut self, name: CString) -> Rc<CStr> {
        if let Some(known) = self.names.get(name.as_c_str()) {
            return Rc::clone(known);
        }
        self.tidy();
        let name: Rc<CStr> = Rc::from(name.into_boxed_c_str());
        self.names.insert(Rc::clone(&name));
        name
    }

    /// The definition that is kept with its instants, and these.
    pub(super) fn instants(&self, definition: &str) -> Option<(Rc<str>, Arc<dyn Occurrences>)> {
        let (definition, instants) = self.instants.get_key_value(definition)?;
        Some((Rc::clone(definition), Arc::clone(instants)))
    }

    /// Keeps instants that depend on nothing but the definition.
    pub(super) fn keep(&mut self, definition: &Rc<str>, instants: &Arc<dyn Occurrences>) {
        self.tidy();
        self.instants.insert(Rc::clone(definition), Arc::clone(instants));
    }

    /// Settings changed that instants depend on.
    pub(super) fn forget_instants(&mut self) {
        self.instants.clear();
    }

    /// Forgets what no job has any more, once there is twice as much as after the last time.
    fn tidy(&mut self) {
        if self.names.len() + self.instants.len() < self.room.max(TIDY_FROM) {
            return;
        }
        self.names.retain(|name| Rc::strong_count(name) > 1);
        self.instants.retain(|_, instants| Arc::strong_count(instants) > 1);
        self.room = 2 * (self.names.len() + self.instants.len());
    }
}
