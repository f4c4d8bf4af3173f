//! Collects figures and shows them as a table and as JSON.

use serde_json::{Map, Value, json};
use std::fs;

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

    /// Prints one line per figure, one column per server.
    pub(crate) fn print(&self) {
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
        println!("\n{}\n", self.about);
        print!("{:<62}", "figure");
        for who in &whose {
            print!(" {who:>22}");
        }
        println!();
        for (figure, unit) in figures {
            print!("{:<62}", format!("{figure} [{unit}]"));
            for who in &whose {
                let value = self.rows.iter().find(|row| row.0 == figure && row.2 == **who);
                print!(" {:>22}", value.map_or_else(|| "-".to_owned(), |row| shown(row.3)));
            }
            println!();
        }
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

/// A figure with as many digits as it deserves.
fn shown(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 1.0 => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}

/// The middle value.
///
/// # Panics
/// When there is none.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
