//! What a job may wait for: jobs of the same owner that do not wait for it.

use std::collections::HashSet;

use crate::catalog::upstream;
use crate::error::Error;
use crate::pg::json::to_server;
use crate::pg::text::ServerText;

/// Makes sure that the jobs a job is to wait for exist, and that none of them waits for it.
/// `name`: the job, if it has one. They keep what they wait for until the transaction ends.
pub(super) fn require(
    name: Option<&str>,
    username: ServerText<'_>,
    run_after: &[String],
) -> Result<(), Error> {
    let mut seen: HashSet<String> = HashSet::new();
    let mut next: Vec<Vec<String>> = run_after.iter().map(|first| vec![first.clone()]).collect();
    while let Some(way) = next.pop() {
        let Some(last) = way.last() else { continue };
        if name == Some(last) {
            return Err(Error::Cycle { job: last.clone(), way });
        }
        if !seen.insert(last.clone()) {
            continue;
        }
        match upstream::of(ServerText::new(&to_server(last)), username)? {
            Some(names) => next.extend(names.into_iter().map(|name| {
                let mut longer = way.clone();
                longer.push(name);
                longer
            })),
            // What others wait for is their concern.
            None if way.len() > 1 => {}
            None => {
                let role = username.readable().into_owned();
                return Err(Error::NoUpstream { name: last.clone(), role });
            }
        }
    }
    Ok(())
}
