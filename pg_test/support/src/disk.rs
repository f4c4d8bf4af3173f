//! A disk that a scenario or a measurement makes slow while its server runs.
//!
//! A small library is loaded into the server's processes; its source says what it does. Owns the
//! invariant that the disk is as fast as the machine's until it is said to be slow, so that tables can
//! be filled first.

use crate::cluster::Cluster;
use crate::server;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// The file that makes the disk slow, in the cluster's directory.
const FILE: &str = "slow";

/// The library for a cluster in `dir`, and its variables of the server's environment.
pub(crate) fn environment(dir: &Path) -> [(String, String); 2] {
    let slow = dir.join(FILE);
    let queue = PathBuf::from(format!("{}.queue", slow.display()));
    drop(File::create(&queue).expect("the file of the disk's queue"));
    server::give_to_server(&queue);
    let library = server::library(dir, "slow_disk", include_str!("slow_disk.c"));
    [("LD_PRELOAD", library), ("SLOW_DISK", slow)]
        .map(|(name, value)| (name.to_owned(), value.display().to_string()))
}

impl Cluster {
    /// Makes the disk slow, or as it was. Only the one of a cluster built with
    /// [`Builder::slow_disk`](crate::Builder::slow_disk).
    pub fn make_disk_slow(&self, slow: bool) {
        let file = self.dir().join(FILE);
        if slow {
            drop(File::create(file).expect("the file that makes the disk slow"));
        } else {
            fs::remove_file(file).expect("the disk was slow");
        }
    }
}
