//! `shmem::changes`: news of changed jobs, on a list of the test's own.

use std::mem::MaybeUninit;

use pgrx::pg_schema;

use crate::shmem::changes::Changes;

/// An empty list.
fn empty() -> Changes {
    // SAFETY: all parts are atomics, for which zeroes are valid and mean no news.
    unsafe { MaybeUninit::<Changes>::zeroed().assume_init() }
}

#[pg_schema]
mod tests {
    use super::empty;
    use crate::shmem::changes::News;
    use pgrx::prelude::*;

    #[pg_test]
    fn news_are_taken_once_and_each_job_is_named_once() {
        let changes = empty();
        assert_eq!(changes.take(), News::default());
        for id in [5, -7, 5, i64::MAX, -7] {
            changes.push(id);
        }
        assert_eq!(changes.take(), News { jobs: vec![5, -7, i64::MAX], ..News::default() });
        assert_eq!(changes.take(), News::default());
        changes.push(9);
        assert_eq!(changes.take().jobs, [9]);
    }

    #[pg_test]
    fn a_job_the_list_has_no_room_for_makes_all_jobs_be_read_again() {
        let changes = empty();
        let mut room = 0;
        loop {
            room += 1;
            changes.push(room);
            let news = changes.take();
            let full = news.everything;
            for id in news.jobs {
                changes.push(id);
            }
            if full || room > 10_000 {
                break;
            }
        }
        let room = room - 1;
        assert_eq!(room, 256);
        // Full: those on the list may be named again, others not.
        changes.push(1);
        changes.push(room);
        let news = changes.take();
        assert!(!news.everything);
        assert_eq!(news.jobs, (1..=room).collect::<Vec<_>>());
        // Room again.
        changes.push(room + 1);
        assert_eq!(changes.take(), News { jobs: vec![room + 1], ..News::default() });
    }

    #[pg_test]
    fn a_job_with_the_id_0_is_not_forgotten() {
        let changes = empty();
        changes.push(0);
        assert_eq!(changes.take(), News { everything: true, ..News::default() });
    }

    #[pg_test]
    fn kinds_of_news_are_kept_apart() {
        let changes = empty();
        changes.push_roles();
        assert_eq!(changes.take(), News { roles: true, ..News::default() });
        changes.push_ledger();
        assert_eq!(changes.take(), News { ledger: true, ..News::default() });
        changes.push_everything();
        assert_eq!(changes.take(), News { everything: true, ..News::default() });
        changes.push(3);
        changes.push_roles();
        changes.clear();
        assert_eq!(changes.take(), News::default());
    }
}
