//! Collects figures and shows them as a table and as JSON.

use crate::aims;
use serde_json::{Map, Value, json};
use std::fs;
use std::process::Command;

/// Who a figure is about.
pub(crate) const PG_TOCK: &str = "pg_tock";

/// Figures by name and by whom they are about, in the order they came.
pub(crate) struct Report {
    rows: Vec<(String, String, String, f64)>,
    about: String,
}

impl Report {
    pub(crate) fn new() -> Self {
        Self { rows: Vec::new(), about: format!("{}, fsync on, medians", machine()) }
    }

    /// Adds a figure: what it is, in which unit, and whose.
    pub(crate) fn add(&mut self, figure: &str, unit: &str, whose: &str, value: f64) {
        println!("    {figure}: {} {unit} ({whose})", shown(value));
        self.rows.push((figure.to_owned(), unit.to_owned(), whose.to_owned(), value));
    }

    /// Says what the server was, before what the machine was.
    pub(crate) fn about(&mut self, server: &str) {
        if !self.about.contains(server) {
            self.about = format!("{server}; {}", self.about);
        }
    }

    /// What was measured on, and a table in Markdown: one row per figure, one column per server, and
    /// what is aimed at.
    pub(crate) fn table(&self) -> String {
        let mut figures: Vec<(&str, &str)> = Vec::new();
        let mut whose: Vec<&str> = Vec::new();
        for (figure, unit, who, _) in &self.rows {
            if !figures.contains(&(figure, unit)) {
                figures.push((figure, unit));
            }
            if !whose.contains(&who.as_str()) {
                whose.push(who);
            }
        }
        let mut lines = vec![format!("Measured on {}: {}.", today(), self.about), String::new()];
        lines.push(format!("| figure | {} | aim |", whose.join(" | ")));
        lines.push("|---".repeat(whose.len() + 2) + "|");
        for (figure, unit) in figures {
            let of = |who: &str| self.rows.iter().find(|row| row.0 == figure && row.2 == who);
            let aim = of(PG_TOCK).and_then(|row| aims::verdict(figure, row.3));
            let aim = aim.map_or_else(String::new, |(aim, how)| format!("{aim}: {how}"));
            let value = |who: &&str| of(who).map_or_else(String::new, |row| shown(row.3));
            let values: Vec<String> = whose.iter().map(value).collect();
            lines.push(format!("| {figure}, {unit} | {} | {aim} |", values.join(" | ")));
        }
        lines.join("\n") + "\n"
    }

    /// Prints the table, and keeps it for `bench/readme.sh`.
    pub(crate) fn print(&self, path: &str) {
        let table = self.table();
        println!("\n{table}");
        fs::write(path, table).expect("the table is written");
    }

    /// Writes the figures as JSON.
    pub(crate) fn save(&self, path: &str) {
        let figures: Vec<Value> = self
            .rows
            .iter()
            .map(|(figure, unit, who, value)| {
                json!({"figure": figure, "unit": unit, "of": who, "median": value})
            })
            .collect();
        let mut document = Map::new();
        document.insert("about".to_owned(), json!(self.about));
        document.insert("figures".to_owned(), json!(figures));
        let text = serde_json::to_string_pretty(&Value::Object(document)).expect("JSON");
        fs::write(path, text + "\n").expect("the report is written");
        println!("\nalso in {path}");
    }
}

/// What is measured on, as far as it can be read: cores and their model, memory, kernel.
fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let model = value_of("/proc/cpuinfo", "model name");
    let model = model.map_or_else(String::new, |model| format!(" of {model}"));
    let memory = value_of("/proc/meminfo", "MemTotal");
    let kilobytes: Option<f64> =
        memory.and_then(|memory| memory.split_whitespace().next()?.parse().ok());
    let memory = kilobytes.map_or_else(String::new, |kilobytes| {
        format!(", {:.1} GiB of memory", kilobytes / 1024.0 / 1024.0)
    });
    let kernel = rustix::system::uname();
    let (system, release) = (kernel.sysname().to_string_lossy(), kernel.release());
    format!("{cores} cores{model}{memory}, {system} {}", release.to_string_lossy())
}

/// What the first line with this name says, in a file of lines such as `name : value`.
fn value_of(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let mut lines = text.lines().filter_map(|line| line.split_once(':'));
    let (_, value) = lines.find(|(key, _)| key.trim() == name)?;
    Some(value.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// The time, to the minute.
fn today() -> String {
    let said = Command::new("date").args(["-u", "+%Y-%m-%d at %H:%M UTC"]).output();
    String::from_utf8_lossy(&said.expect("the time").stdout).trim().to_owned()
}

/// A figure with as many digits as it deserves.
pub(crate) fn shown(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => grouped(&format!("{value:.0}")),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// A whole number with a comma before each three digits.
fn grouped(digits: &str) -> String {
    let mut text = String::new();
    for (at, digit) in digits.char_indices() {
        let left = digits.len() - at;
        if at > 0 && left.is_multiple_of(3) && !text.ends_with('-') {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The middle value.
///
/// # Panics
/// When there is none.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_a_row_per_figure_a_column_per_server_and_the_aim() {
        let mut report = Report { rows: Vec::new(), about: "2 cores".to_owned() };
        report.add("recorded runs of select 1", "1/s", PG_TOCK, 20_400.0);
        report.add("drain", "1/s", PG_TOCK, 1_234_567.0);
        report.add("drain", "1/s", "pg_cron", 360.4);
        let table = report.table();
        let lines: Vec<&str> = table.lines().skip(1).collect();
        assert_eq!(
            lines,
            [
                "",
                "| figure | pg_tock | pg_cron | aim |",
                "|---|---|---|---|",
                "| recorded runs of select 1, 1/s | 20,400 |  | at least 40,000: missed |",
                "| drain, 1/s | 1,234,567 | 360 |  |",
            ]
        );
        assert!(table.starts_with("Measured on 20") && table.contains(" UTC: 2 cores.\n"));
    }
}
