//! The bodies of the fuzz targets over generated texts, so that they run without libFuzzer: valid
//! texts are cut up, put together and damaged by a generator with a fixed seed.
//!
//! `PG_TOCK_WIDE=1` runs many more of them.
#![allow(clippy::indexing_slicing, reason = "a test fails by panicking")]
#![allow(clippy::cast_possible_truncation, reason = "small test numbers")]

#[path = "../../../fuzz/body.rs"]
mod body;

const SCHEDULES: [&str; 24] = [
    "*/5 9-17 * * mon-fri",
    "0 0 1,15 * fri",
    "30 2 $ * *",
    "0 0 15W,LW * sun#2,5L",
    "50-5/2 22-6 * jan-mar,12 7",
    "@yearly",
    "@reboot",
    "30 seconds",
    " +5 SECONDS ",
    "every 10 minutes",
    "every 1 hour 30 minutes after completion",
    "every 2 weeks",
    "at 2026-12-24 18:00",
    "at 2026-03-08T02:30:15",
    "CRON_TZ=Europe/Berlin 0 3 * * *",
    "CRON_TZ=<-03:30>3:30 @daily",
    "seconds: */5 * 9-17 * * mon-fri",
    "# note\n\n0 3 * * *\n",
    "*/30 * * * * *",
    "0 0 * * * 2024",
    "0 0 12 * * ?",
    "4294967301 * * * *",
    "99999999999999999999 seconds",
    "0 0 30 2 *",
];

const WINDOWS: [&str; 8] = [
    "09:00-17:00",
    "mon-fri 09:00-17:00; sat 10:00-12:00",
    "22:00-06:00",
    "fri-mon,wed 8:00-24:00",
    "sunday",
    "00:00-24:00;sat,sun 0:00-0:01",
    "24:00-25:61",
    "monday-xyz 9-17",
];

/// What texts are damaged with.
const BITS: [&str; 30] = [
    "",
    " ",
    "\t",
    "\n",
    "\r\n",
    "*",
    "-",
    "/",
    ",",
    "#",
    "$",
    "L",
    "LW",
    "W",
    "?",
    "@",
    ":",
    ";",
    "0",
    "59",
    "60",
    "-1",
    "4294967296",
    "9223372036854775808",
    "é",
    "\u{202e}",
    "\0",
    "CRON_TZ=",
    "every ",
    "24:00",
];

struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % limit as u64) as usize
    }

    /// A piece of a text that begins and ends on character boundaries.
    fn piece<'a>(&mut self, text: &'a str) -> &'a str {
        let places: Vec<usize> =
            text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
        let (a, b) = (places[self.below(places.len())], places[self.below(places.len())]);
        &text[a.min(b)..a.max(b)]
    }

    fn text(&mut self, seeds: &[&str]) -> String {
        let mut text = seeds[self.below(seeds.len())].to_owned();
        for _ in 0..self.below(5) {
            let (head, tail) = (self.piece(&text).to_owned(), seeds[self.below(seeds.len())]);
            text = match self.below(5) {
                0 => head + self.piece(tail),
                1 => format!("{head}{}{}", BITS[self.below(BITS.len())], self.piece(tail)),
                2 => format!("{}{text}", BITS[self.below(BITS.len())]),
                3 => format!("{text}{}", BITS[self.below(BITS.len())]),
                _ => format!("{text}{}", head.repeat(1 + self.below(1 + 1_000 / (head.len() + 1)))),
            };
        }
        text
    }
}

fn over(seeds: &[&str], body: fn(&str)) {
    let times = if std::env::var_os("PG_TOCK_WIDE").is_some() { 3_000_000 } else { 20_000 };
    let mut random = Random(20_261_121);
    for seed in seeds {
        body(seed);
    }
    for _ in 0..times {
        body(&random.text(seeds));
    }
}

#[test]
fn no_text_harms_the_reader_of_schedules() {
    over(&SCHEDULES, body::schedule);
}

#[test]
fn no_text_harms_the_reader_of_windows() {
    over(&WINDOWS, body::run_window);
}
