//! Documents that say which jobs there are to be, and what it takes to get there.
//!
//! Owns three invariants: the same jobs always give the same document, to the byte; a document that
//! was written is read again as the same jobs; and what a job has beside its options (its id, a
//! pause, how far it has come, its statistics) neither is in a document nor is touched by one.
//!
//! A job is known by its name and its owner. One that has no name is known by what it runs and
//! where; several of those are told apart by their other options, as far as these are the same.

mod diff;
mod entry;
mod error;
mod path;
mod read;
#[cfg(test)]
mod tests;
mod upstream;

pub use diff::{Action, Change, Existing, Field, compare, shown};
pub use entry::{Entry, Site, write};
pub use error::{Flaw, Problem};
pub use path::Path;
pub use read::read;
pub use upstream::{Upset, check_upstreams};

use crate::options::{Document, Options};

/// The version of the documents this release writes, and the only one it reads.
pub const VERSION: u64 = 1;

/// A document that was read.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// If there are any, the document is about the jobs that have one of them, and about no others.
    pub tags: Vec<String>,
    /// It is about the jobs of all roles, and not of its reader alone.
    pub all_owners: bool,
    /// The jobs, in the document's order.
    pub jobs: Vec<Wanted>,
}

/// A job that is to be there.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// It, as it is compared.
    pub entry: Entry,
    /// Its options, as they are checked and stored.
    pub options: Options,
    /// The request it sends, as it is stored; `None` if it runs SQL.
    pub http: Option<Document>,
    /// The keys it was given with.
    pub keys: Vec<String>,
}
