//! Classification: accuracy, macro-F1, and accuracy within each class and segment.

use std::collections::BTreeMap;

use super::{ALL, Metric, Outputs, QualityFigure};
use crate::error::{Error, Result};
use crate::stats::{self, CONFIDENCE, Interval};

/// What is to be told apart.
#[derive(Debug, Clone, Copy)]
pub(super) struct Task<'a> {
    pub(super) labels: &'a [u32],
    pub(super) names: &'a [String],
    pub(super) segments: Option<&'a [String]>,
}

/// Accuracy and macro-F1 over all, then accuracy within each class and each segment.
///
/// A label without a score is an error: whatever the model says, that sample would count as wrong.
pub(super) fn figures(
    task: Task<'_>,
    outputs: &Outputs,
    parents: Option<&Outputs>,
) -> Result<Vec<QualityFigure>> {
    let labels = task.labels;
    if !outputs.integers
        && let Some(at) = labels.iter().position(|label| *label as usize >= outputs.width)
    {
        let message = format!("is {}, but the output has {} scores", labels[at], outputs.width);
        return Err(Error::input(format!("label of sample {at}"), message).remedy(
            "correct the label, or name the output that holds the scores (quality.output)",
        ));
    }
    let named = task.names.len();
    if !outputs.integers && named > 0 && outputs.width != named {
        let message = format!("has {} scores for {named} classes", outputs.width);
        return Err(Error::input("the output that is judged", message).remedy(
            "name the output that holds a score for each class (quality.output), give an encoder \
             a head (quality.head), or name all classes",
        ));
    }
    let predicted = outputs.classes();
    let before = parents.map(Outputs::classes);
    let right = |predicted: &[u32]| -> Vec<bool> {
        predicted.iter().zip(labels).map(|(p, l)| p == l).collect()
    };
    let (now, before_right) = (right(&predicted), before.as_deref().map(right));
    let accuracy = |segment: &str, samples: &[usize]| {
        let count = samples.iter().filter(|i| now[**i]).count();
        let interval = stats::wilson(count, samples.len(), CONFIDENCE)?;
        let delta = before_right.as_ref().and_then(|before| {
            let gained = samples.iter().filter(|i| now[**i] && !before[**i]).count();
            let lost = samples.iter().filter(|i| !now[**i] && before[**i]).count();
            stats::paired_difference(gained, lost, samples.len(), CONFIDENCE)
        });
        let figure = QualityFigure::new(Metric::Accuracy, segment, interval, samples.len());
        Some(figure.with_delta(delta))
    };
    let all: Vec<usize> = (0..labels.len()).collect();
    let mut figures: Vec<QualityFigure> = accuracy(ALL, &all).into_iter().collect();
    figures.extend(macro_f1(labels, &predicted, before.as_deref()));
    let mut parts: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (i, label) in labels.iter().enumerate() {
        let name = task.names.get(*label as usize);
        let name = name.map_or_else(|| label.to_string(), Clone::clone);
        parts.entry(format!("class:{name}")).or_default().push(i);
    }
    for (i, segment) in task.segments.into_iter().flatten().enumerate() {
        parts.entry(format!("segment:{segment}")).or_default().push(i);
    }
    figures.extend(parts.iter().filter_map(|(name, samples)| accuracy(name, samples)));
    Ok(figures)
}

/// The bootstrap draws samples; the difference to the parent draws them for both at once.
fn macro_f1(labels: &[u32], predicted: &[u32], before: Option<&[u32]>) -> Option<QualityFigure> {
    let mut classes: Vec<u32> = labels.to_vec();
    classes.sort_unstable();
    classes.dedup();
    let index = |class: u32| classes.binary_search(&class).unwrap_or(classes.len());
    let indices = |of: &[u32]| -> Vec<usize> { of.iter().map(|c| index(*c)).collect() };
    let (truth, now) = (indices(labels), indices(predicted));
    let f1 = |predicted: &[usize], drawn: &[usize]| {
        // Per class: right, labelled so, predicted so. The last slot is for classes that no
        // sample is labelled with: predicting one is wrong and nothing else.
        let mut counts = vec![[0_u32; 3]; classes.len() + 1];
        for &i in drawn {
            counts[truth[i]][1] += 1;
            counts[predicted[i]][2] += 1;
            counts[truth[i]][0] += u32::from(truth[i] == predicted[i]);
        }
        let present: Vec<f64> = counts[..classes.len()]
            .iter()
            .filter(|[_, labelled, _]| *labelled > 0)
            .map(|[right, labelled, said]| 2.0 * f64::from(*right) / f64::from(labelled + said))
            .collect();
        (!present.is_empty()).then(|| present.iter().sum::<f64>() / present.len() as f64)
    };
    let n = labels.len();
    let interval = stats::bootstrap(n, CONFIDENCE, |drawn| f1(&now, drawn))?;
    let delta: Option<Interval> = before.and_then(|before| {
        let before = indices(before);
        stats::bootstrap(n, CONFIDENCE, |drawn| Some(f1(&now, drawn)? - f1(&before, drawn)?))
    });
    Some(QualityFigure::new(Metric::MacroF1, ALL, interval, n).with_delta(delta))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scores(classes: &[u32], width: usize) -> Outputs {
        let row = |class: &u32| {
            (0..width).map(|i| if i == *class as usize { 1.0 } else { 0.0 }).collect()
        };
        Outputs { rows: classes.iter().map(row).collect(), width, integers: false }
    }

    fn find<'a>(figures: &'a [QualityFigure], metric: &Metric, segment: &str) -> &'a QualityFigure {
        figures.iter().find(|f| f.metric == *metric && f.segment == segment).unwrap()
    }

    #[test]
    fn accuracy_and_macro_f1_of_a_worked_example() {
        let labels = [0, 0, 0, 1, 1, 2];
        let names: Vec<String> = ["a", "b", "c"].map(String::from).to_vec();
        let segments: Vec<String> = ["x", "x", "y", "y", "y", "y"].map(String::from).to_vec();
        let task = Task { labels: &labels, names: &names, segments: Some(&segments) };
        let figures = figures(task, &scores(&[0, 0, 1, 1, 1, 0], 3), None).unwrap();
        assert!((find(&figures, &Metric::Accuracy, ALL).value - 4.0 / 6.0).abs() < 1e-12);
        // F1: a 2·2/(3+3), b 2·2/(2+3), c 0.
        let f1 = (4.0 / 6.0 + 4.0 / 5.0) / 3.0;
        assert!((find(&figures, &Metric::MacroF1, ALL).value - f1).abs() < 1e-12);
        assert!((find(&figures, &Metric::Accuracy, "class:a").value - 2.0 / 3.0).abs() < 1e-12);
        assert!((find(&figures, &Metric::Accuracy, "segment:y").value - 0.5).abs() < 1e-12);
        assert_eq!(find(&figures, &Metric::Accuracy, "class:c").samples, 1);
    }

    #[test]
    fn differences_are_paired() {
        let labels: Vec<u32> = (0..100).map(|i| i % 2).collect();
        let task = Task { labels: &labels, names: &[], segments: None };
        let mut worse = labels.clone();
        worse[..6].iter_mut().for_each(|c| *c = 1 - *c);
        let figures = figures(task, &scores(&worse, 2), Some(&scores(&labels, 2))).unwrap();
        for metric in [Metric::Accuracy, Metric::MacroF1] {
            let figure = find(&figures, &metric, ALL);
            assert!((figure.delta.unwrap() + 0.06).abs() < 2e-3, "{figure:?}");
            assert!(figure.delta_high.unwrap() < 0.0, "six of 100 lost is seen: {figure:?}");
        }
    }

    #[test]
    fn a_label_without_a_score_is_an_error() {
        let task = Task { labels: &[0, 7], names: &[], segments: None };
        let error = figures(task, &scores(&[0, 1], 2), None).unwrap_err().to_string();
        assert!(error.contains("label of sample 1: is 7, but the output has 2 scores"), "{error}");
    }
}
