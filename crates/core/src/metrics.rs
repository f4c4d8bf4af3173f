//! Metrics as text, for Prometheus and whatever reads its format.
//!
//! Owns one invariant: whatever the texts are, the result can be parsed back into the same samples: in
//! it, only this module's own characters have a meaning.
//!
//! The dialect is the Prometheus text format (0.0.4), which also `promtool` reads, with the `# EOF` of
//! OpenMetrics at the end. Where the two differ, in whether the head of a counter has `_total` at its
//! end, it is as Prometheus and OpenMetrics 2.0 have it.

use std::fmt::Write;

/// What a family of samples is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A number that only grows, from 0 again when it is counted anew.
    Counter,
    /// A number that goes up and down.
    Gauge,
    /// Quantiles, with the sum and the number of what they are of.
    Summary,
}

impl Kind {
    /// The kind of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Counter, Self::Gauge, Self::Summary].into_iter().find(|kind| kind.as_str() == name)
    }

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Summary => "summary",
        }
    }

    /// The family a sample belongs to: its name, for a summary without `_sum` and `_count`.
    #[must_use]
    pub fn family(self, sample: &str) -> &str {
        let bare = || sample.strip_suffix("_sum").or_else(|| sample.strip_suffix("_count"));
        if self == Self::Summary { bare().unwrap_or(sample) } else { sample }
    }
}

/// Writes samples down that come family by family.
#[derive(Debug, Default)]
pub struct Exposition {
    text: String,
    family: String,
}

impl Exposition {
    /// Adds a sample.
    pub fn push<'a>(
        &mut self,
        name: &str,
        kind: Kind,
        help: &str,
        labels: impl IntoIterator<Item = (&'a str, &'a str)>,
        value: f64,
    ) {
        let family = kind.family(name);
        if family != self.family {
            self.head(family, kind, help);
        }
        self.text.push_str(name);
        let mut before = '{';
        for (label, text) in labels {
            self.text.push(before);
            self.text.push_str(label);
            self.text.push_str("=\"");
            escape(&mut self.text, text, true);
            self.text.push('"');
            before = ',';
        }
        if before == ',' {
            self.text.push('}');
        }
        // Writing to a String cannot fail.
        let _ = match value {
            v if v.is_nan() => writeln!(self.text, " NaN"),
            v if v.is_infinite() => writeln!(self.text, " {}Inf", if v > 0.0 { '+' } else { '-' }),
            v => writeln!(self.text, " {v}"),
        };
    }

    fn head(&mut self, family: &str, kind: Kind, help: &str) {
        family.clone_into(&mut self.family);
        self.text.push_str("# HELP ");
        self.text.push_str(family);
        self.text.push(' ');
        escape(&mut self.text, help, false);
        let _ = writeln!(self.text, "\n# TYPE {family} {}", kind.as_str());
    }

    /// The text.
    #[must_use]
    pub fn finish(mut self) -> String {
        self.text.push_str("# EOF\n");
        self.text
    }
}

fn escape(out: &mut String, text: &str, quotes: bool) {
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if quotes => out.push_str("\\\""),
            _ => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn families_have_one_head_and_texts_are_escaped() {
        let mut text = Exposition::default();
        text.push("up", Kind::Gauge, "Is it\nthere? \\ \"", [], 1.0);
        let labels = [("jobname", "a\"b\\c\nd"), ("outcome", "failed")];
        text.push("runs_total", Kind::Counter, "Runs.", labels, 1e15);
        text.push("runs_total", Kind::Counter, "Runs.", [("jobname", "")], 0.25);
        for (name, value) in [("took", f64::NAN), ("took_count", 3.0), ("took_sum", f64::INFINITY)]
        {
            text.push(name, Kind::Summary, "Time.", [], value);
        }
        assert_eq!(
            text.finish(),
            "# HELP up Is it\\nthere? \\\\ \"\n# TYPE up gauge\nup 1\n\
             # HELP runs_total Runs.\n# TYPE runs_total counter\n\
             runs_total{jobname=\"a\\\"b\\\\c\\nd\",outcome=\"failed\"} 1000000000000000\n\
             runs_total{jobname=\"\"} 0.25\n\
             # HELP took Time.\n# TYPE took summary\ntook NaN\ntook_count 3\ntook_sum +Inf\n# EOF\n"
        );
    }

    #[test]
    fn no_samples_are_a_text_too() {
        assert_eq!(Exposition::default().finish(), "# EOF\n");
    }

    /// Reads a label's text back, as a scraper does.
    fn read(line: &str) -> String {
        let (_, rest) = line.split_once("=\"").unwrap();
        let mut text = String::new();
        let mut chars = rest.chars();
        loop {
            match chars.next().unwrap() {
                '"' => break,
                '\\' => match chars.next().unwrap() {
                    'n' => text.push('\n'),
                    c => text.push(c),
                },
                c => text.push(c),
            }
        }
        assert_eq!(chars.as_str(), "} 1");
        text
    }

    proptest! {
        #[test]
        fn a_label_is_read_back_as_it_was(label in any::<String>()) {
            let mut text = Exposition::default();
            text.push("x", Kind::Gauge, "X.", [("l", label.as_str())], 1.0);
            let text = text.finish();
            let lines: Vec<&str> = text.split('\n').collect();
            prop_assert_eq!(lines.len(), 5, "{}", text);
            prop_assert_eq!(read(lines[2]), label);
        }
    }
}
