//! `JUnit` XML, as the schema of Jenkins' xUnit plug-in has it.

use super::{GateReport, Line};
use crate::gate::Verdict;

impl GateReport {
    /// `JUnit` XML: a regression fails, what is undecided is skipped. `classname` is the case, `name` the metric.
    pub fn junit(&self) -> String {
        let lines = self.lines();
        let decided: Vec<&Line<'_>> = lines.iter().filter(|line| line.verdict.is_some()).collect();
        let count = |wanted: &[Verdict]| {
            decided.iter().filter(|line| line.verdict.is_some_and(|v| wanted.contains(&v))).count()
        };
        let (tests, failures) = (decided.len(), count(&[Verdict::Regression]));
        let skipped = count(&[Verdict::TooNoisy, Verdict::NoBaseline]);
        let suite = xml(&format!("infermark gate {}", self.workload));
        let mut text = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n  <testsuite name=\"{suite}\" tests=\"{tests}\" \
             failures=\"{failures}\" errors=\"0\" skipped=\"{skipped}\" time=\"0\">\n"
        );
        for line in decided {
            let (class, name) = (xml(&line.case.label), xml(&line.name));
            let open = format!("    <testcase classname=\"{class}\" name=\"{name}\" time=\"0\"");
            let said = xml(&line.said);
            text.push_str(&match line.verdict {
                Some(Verdict::Regression) => format!(
                    "{open}>\n      <failure message=\"{said}\" type=\"regression\"/>\n    </testcase>\n"
                ),
                Some(Verdict::TooNoisy | Verdict::NoBaseline) => {
                    format!("{open}>\n      <skipped message=\"{said}\"/>\n    </testcase>\n")
                }
                _ => format!(
                    "{open}>\n      <system-out>{said}</system-out>\n    </testcase>\n"
                ),
            });
        }
        text + "  </testsuite>\n</testsuites>\n"
    }
}

fn xml(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // XML 1.0 has no place for these, escaped or not.
            '\u{fffe}' | '\u{ffff}' => out.push(' '),
            c if c.is_control() && !matches!(c, '\n' | '\t') => out.push(' '),
            c => out.push(c),
        }
    }
    out
}
