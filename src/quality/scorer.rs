//! The user's own scorer, as far as it is text: what it is given and what it says.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{ALL, Metric, Outputs, QualityFigure, Truth};
use crate::error::{Error, Result};
use crate::stats::Interval;

/// One JSON object a line for each sample: `sample`, `output`, and what is known of it: `label`
/// and `class`, `score`, `relevant` or `tokens`, and its `segment`.
pub fn scorer_input(outputs: &Outputs, truth: &Truth, segments: Option<&[String]>) -> Vec<u8> {
    let mut text = String::new();
    for (i, row) in outputs.rows.iter().enumerate() {
        let mut line = json!({ "sample": i, "output": row });
        match truth {
            Truth::Nothing => {}
            Truth::Classes { labels, names } => {
                line["label"] = json!(labels.get(i));
                if let Some(name) = labels.get(i).and_then(|label| names.get(*label as usize)) {
                    line["class"] = json!(name);
                }
            }
            Truth::Scores(scores) => line["score"] = json!(scores.get(i)),
            Truth::Pairs(scores) => line["score"] = json!(scores.get(i / 2)),
            Truth::Relevant(lists) => line["relevant"] = json!(lists.get(i)),
            Truth::Tokens(labels) => line["tokens"] = json!(labels.get(i)),
        }
        if let Some(segment) = segments.and_then(|all| all.get(i)) {
            line["segment"] = json!(segment);
        }
        text.push_str(&line.to_string());
        text.push('\n');
    }
    text.into_bytes()
}

/// One figure as a scorer prints it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    metric: String,
    value: f64,
    #[serde(default)]
    low: Option<f64>,
    #[serde(default)]
    high: Option<f64>,
    #[serde(default)]
    segment: Option<String>,
}

/// Reads what a scorer printed: one `{"metric": …, "value": …}` a line, with `low`, `high` and
/// `segment` where it knows them. `command` names it in errors.
pub fn read_scores(command: &str, text: &str, samples: usize) -> Result<Vec<QualityFigure>> {
    let remedy =
        "it must print lines like {\"metric\": \"bleu\", \"value\": 0.31} and nothing else";
    let wrong =
        |message: String| Error::input(format!("scorer `{command}`"), message).remedy(remedy);
    let mut figures = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let shown: String = line.chars().take(60).collect();
        let said: Said = serde_json::from_str(line)
            .map_err(|e| wrong(format!("printed `{shown}`, which is no figure: {e}")))?;
        let metric = Metric::from(said.metric);
        if !matches!(&metric, Metric::Own(name) if !name.is_empty()) {
            return Err(wrong(format!("printed the figure `{metric}`, which is one of ours")));
        }
        let ordered = said.low.is_none_or(|low| low <= said.value)
            && said.high.is_none_or(|high| said.value <= high);
        if !ordered {
            return Err(wrong(format!("printed `{shown}`, whose value is outside its interval")));
        }
        let interval = Interval { value: said.value, low: said.low, high: said.high };
        let segment = said.segment.unwrap_or_else(|| ALL.to_owned());
        let figure = QualityFigure::new(metric, &segment, interval, samples);
        let same = |f: &QualityFigure| f.metric == figure.metric && f.segment == figure.segment;
        if figures.iter().any(same) {
            return Err(wrong(format!("printed `{}` of {segment} twice", figure.metric)));
        }
        figures.push(figure);
    }
    if figures.is_empty() {
        return Err(wrong("printed no figure".to_owned()));
    }
    Ok(figures)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_and_nonsense_is_named() {
        let text = "{\"metric\": \"bleu\", \"value\": 0.3}\n\n{\"metric\":\"len\",\"value\":7,\"low\":6,\"high\":8}\n";
        let figures = read_scores("s", text, 10).unwrap();
        assert_eq!(figures[0].metric, Metric::Own("bleu".into()));
        assert_eq!(figures[1].high, Some(8.0));
        for (text, says) in [
            ("hello", "`hello`"),
            ("", "no figure"),
            ("{\"metric\": \"bleu\"}", "value"),
            ("{\"metric\": \"bleu\", \"value\": NaN}", "NaN"),
            ("{\"metric\": \"accuracy\", \"value\": 1}", "one of ours"),
            ("{\"metric\": \"m\", \"value\": 0.5, \"low\": 0.9}", "outside its interval"),
            ("{\"metric\": \"m\", \"value\": 1}\n{\"metric\": \"m\", \"value\": 2}", "twice"),
        ] {
            let error = read_scores("s", text, 10).unwrap_err().to_string();
            assert!(error.contains(says) && error.contains("scorer `s`"), "{error}");
        }
    }

    #[test]
    fn a_scorer_is_told_what_is_known() {
        let outputs = Outputs { rows: vec![vec![0.5], vec![0.25]], width: 1, integers: false };
        let truth = Truth::Classes { labels: vec![1, 0], names: vec!["no".into(), "yes".into()] };
        let text = String::from_utf8(scorer_input(&outputs, &truth, None)).unwrap();
        let first: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!(first, json!({"sample": 0, "output": [0.5], "label": 1, "class": "yes"}));
    }
}
