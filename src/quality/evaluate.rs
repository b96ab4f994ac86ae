//! Every figure that a test set's truth allows.

use std::borrow::Cow;

use super::truth::Truth;
use super::{Head, Metric, Outputs, QualityFigure, classes, parent, rank, tokens};
use crate::error::{Error, Result};

/// A test set as quality sees it.
#[derive(Debug, Clone, Copy)]
pub struct TestSet<'a> {
    /// What is right.
    pub truth: &'a Truth,
    /// The segment of each sample, where the set has any.
    pub segments: Option<&'a [String]>,
    /// What turns outputs into scores of classes.
    pub head: Option<&'a Head>,
}

/// Every figure that the truth allows, `first` (the one that decides) before the others; with the
/// parent's outputs also the differences to it.
///
/// Outputs are those of a session, in the order of the samples. An error names what does not fit:
/// a label that no score belongs to, an output that the head cannot read.
pub fn evaluate(
    set: TestSet<'_>,
    outputs: &Outputs,
    parents: Option<&Outputs>,
    first: Option<&Metric>,
) -> Result<Vec<QualityFigure>> {
    let mut figures = Vec::new();
    if let Some(parents) = parents {
        figures.extend(parent::distances(outputs, parents));
    }
    let scores = through(set.head, outputs)?;
    let parent_scores = parents.map(|parents| through(set.head, parents)).transpose()?;
    let before = parent_scores.as_deref();
    let mut judged = match set.truth {
        Truth::Nothing => Vec::new(),
        Truth::Classes { labels, names } => {
            let task = classes::Task { labels, names, segments: set.segments };
            classes::figures(task, &scores, before)?
        }
        Truth::Scores(truth) => rank::of_scores(truth, &scores, before)?,
        Truth::Pairs(truth) => rank::of_pairs(truth, &scores, before),
        Truth::Relevant(lists) => rank::of_retrieval(lists, &scores, before),
        Truth::Tokens(labels) => tokens::figures(labels, &scores, before)?,
    };
    // Pairs and queries are not decided; everything else is.
    let decides = !matches!(set.truth, Truth::Scores(_) | Truth::Pairs(_) | Truth::Relevant(_));
    if let (Some(before), true) = (before, decides) {
        judged.extend(parent::agreement(&scores, before));
    }
    judged.append(&mut figures);
    if let Some(first) = first {
        judged.sort_by_key(|figure| figure.metric != *first || figure.segment != super::ALL);
    }
    Ok(judged)
}

/// What is judged: the head's scores, or the outputs as they are.
fn through<'a>(head: Option<&Head>, outputs: &'a Outputs) -> Result<Cow<'a, Outputs>> {
    let Some(head) = head else { return Ok(Cow::Borrowed(outputs)) };
    let width = outputs.rows.first().map_or(0, Vec::len);
    if width != head.inputs() {
        let message = format!("reads {} values, the output has {width}", head.inputs());
        return Err(Error::input("quality.head", message)
            .remedy("name the output it was fitted on with quality.output, or fit it again"));
    }
    Ok(Cow::Owned(outputs.through(head)))
}
