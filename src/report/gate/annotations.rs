//! Workflow commands that GitHub's actions show beside a change.

use super::GateReport;
use crate::gate::Verdict;

impl GateReport {
    /// An error for a regression, a warning for what is undecided, a line each.
    ///
    /// Escaped as GitHub's toolkit does: `%`, line ends, and in properties `:` and `,` too.
    pub fn annotations(&self) -> String {
        let mut text = String::new();
        for line in self.lines() {
            let level = match line.verdict {
                Some(Verdict::Regression) => "error",
                Some(Verdict::TooNoisy | Verdict::NoBaseline) => "warning",
                _ => continue,
            };
            let escaped =
                |text: &str| text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
            let title = escaped(&line.case.label).replace(':', "%3A").replace(',', "%2C");
            text.push_str(&format!("::{level} title={title}::{}\n", escaped(&line.said)));
        }
        text
    }
}
