//! What the design aims at, by the names of the figures it is about (section "Speed and size").

use crate::report::shown;

/// The least or the most a figure of pg_tock is to be.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Aim {
    AtLeast(f64),
    AtMost(f64),
    /// Nothing at all, as far as two decimals tell.
    Nothing,
}

use Aim::{AtLeast, AtMost, Nothing};

const AIMS: [(&str, Aim); 26] = [
    ("recorded runs of select 1", AtLeast(40_000.0)),
    ("recorded runs of one-row insert", AtLeast(12_000.0)),
    ("commits beyond the job's own, select 1", Nothing),
    ("commits beyond the job's own, one-row insert", Nothing),
    ("WAL, select 1", AtMost(300.0)),
    ("1 due: start lag p50", AtMost(0.15)),
    ("1 due: start lag p99", AtMost(0.5)),
    ("1,000 due at one instant: last one started after", AtMost(30.0)),
    ("1,000 due at one instant, every second: last one started after", AtMost(30.0)),
    ("0 jobs, none due: wake-ups", Nothing),
    ("0 jobs, none due: CPU", Nothing),
    ("10,000 jobs, none due: wake-ups", Nothing),
    ("10,000 jobs, none due: CPU", Nothing),
    ("100,000 jobs, none due: wake-ups", Nothing),
    ("100,000 jobs, none due: CPU", Nothing),
    ("one job changed among 100,000: CPU of the scheduler", AtMost(1.0)),
    ("100,000 jobs: memory of the scheduler", AtMost(60.0)),
    ("http requests, 256 in flight, client and server together", AtLeast(20_000.0)),
    ("https requests, 256 in flight, client and server together", AtLeast(20_000.0)),
    ("recorded HTTP requests", AtLeast(20_000.0)),
    ("next instant of a cron expression", AtMost(1.0)),
    // Those of the guarantees, which are measured by hand.
    ("start lag while another user tries everything: p99", AtMost(50.0)),
    ("first run after pg_promote() was called: worst", AtMost(5.0)),
    ("first run after a stop, 100,000 jobs, 10 million rows", AtMost(2.0)),
    ("first run after a crash, 100,000 jobs, 10 million rows", AtMost(2.0)),
    ("all columns of all: execution", AtMost(10.0)),
];

/// What is aimed at, and whether `value` gets there; None where nothing is aimed at.
pub(crate) fn verdict(figure: &str, value: f64) -> Option<(String, &'static str)> {
    let (_, aim) = AIMS.iter().find(|(name, _)| *name == figure)?;
    let (met, aim) = match *aim {
        AtLeast(least) => (value >= least, format!("at least {}", plain(least))),
        AtMost(most) => (value <= most, format!("at most {}", plain(most))),
        Nothing => (value.abs() < 0.005, "0".to_owned()),
    };
    Some((aim, if met { "met" } else { "missed" }))
}

/// The number as the design has it.
fn plain(value: f64) -> String {
    if value >= 1_000.0 { shown(value) } else { value.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_aim_is_met_or_missed() {
        let says = |figure, value| verdict(figure, value).map(|(aim, how)| format!("{aim}: {how}"));
        let says = |figure, value| says(figure, value).unwrap_or_default();
        assert_eq!(says("recorded runs of select 1", 39_999.0), "at least 40,000: missed");
        assert_eq!(says("recorded runs of select 1", 40_000.0), "at least 40,000: met");
        assert_eq!(says("1 due: start lag p50", 0.16), "at most 0.15: missed");
        assert_eq!(says("100,000 jobs, none due: CPU", 0.004), "0: met");
        assert_eq!(says("100,000 jobs, none due: CPU", 0.3), "0: missed");
        assert_eq!(says("runs of these that failed", 0.0), "");
    }

    #[test]
    fn every_aim_is_of_a_figure_that_is_measured() {
        // Most names are put together where they are measured: their last parts are in the source.
        let source = [
            include_str!("crates.rs"),
            include_str!("drain.rs"),
            include_str!("failover.rs"),
            include_str!("hostile.rs"),
            include_str!("http.rs"),
            include_str!("idle.rs"),
            include_str!("job_stats.rs"),
            include_str!("lag.rs"),
            include_str!("main.rs"),
            include_str!("restart.rs"),
            include_str!("sustained.rs"),
        ]
        .concat();
        for (figure, _) in AIMS {
            let last = figure.rsplit([':', ',']).next().unwrap_or_default().trim();
            let last = last.trim_start_matches("recorded ").trim_start_matches("runs of ");
            let last = last.trim_start_matches(|c: char| c.is_ascii_digit());
            assert!(source.contains(last), "{figure}");
        }
    }
}
