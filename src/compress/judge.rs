//! How near a compressed graph's answers are to the model's, on samples set aside for it.

use super::calibrate::{Execute, Purpose};
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::quality::{self, Metric, Outputs, QualityFigure, TestSet};
use crate::variant::{Budget, BudgetMetric, Tensors};

/// Samples that decide what is kept. They are neither those of calibration nor those of the test.
#[derive(Debug, Clone, Copy)]
pub struct Validation<'a> {
    /// The samples.
    pub samples: &'a [Tensors],
    /// What is right for them, where it is known.
    pub set: TestSet<'a>,
    /// The output that is judged; the first one when `None`.
    pub output: Option<&'a str>,
    /// The figure that is shown first.
    pub metric: Option<&'a Metric>,
}

/// The validation samples with the model's own answers.
pub(super) struct Judge<'a> {
    validation: Validation<'a>,
    /// The output that is judged.
    output: String,
    parents: Outputs,
}

impl<'a> Judge<'a> {
    /// Runs the model itself on the samples.
    pub(super) fn new(
        parent: &Graph,
        validation: Validation<'a>,
        execute: &mut dyn Execute,
    ) -> Result<Self> {
        let first = parent.outputs.first().map(|id| parent.value(*id).name.clone());
        let output = validation.output.map(str::to_owned).or(first).unwrap_or_default();
        execute.load(parent, Purpose::Judge)?;
        let parents = answers(&validation, &output, execute)?;
        if let Some(at) = parents.rows.iter().position(|row| !is_finite(row)) {
            return Err(Error::input(
                &parent.subject,
                format!("answers validation sample {at} with what is no finite number"),
            )
            .remedy("look for NaN in that sample and in the model's weights"));
        }
        Ok(Self { validation, output, parents })
    }

    /// The validation samples.
    pub(super) fn samples(&self) -> &'a [Tensors] {
        self.validation.samples
    }

    /// The model's own figures on the validation samples.
    pub(super) fn parent(&self) -> Result<Vec<QualityFigure>> {
        quality::evaluate(self.validation.set, &self.parents, None, self.validation.metric)
    }

    /// Every figure of `graph` that the validation samples allow, differences to the model itself;
    /// `None` where an answer is no finite number.
    pub(super) fn figures(
        &self,
        graph: &Graph,
        execute: &mut dyn Execute,
    ) -> Result<Option<Vec<QualityFigure>>> {
        execute.load(graph, Purpose::Judge)?;
        let outputs = answers(&self.validation, &self.output, execute)?;
        if !outputs.rows.iter().all(|row| is_finite(row)) {
            return Ok(None);
        }
        let first = self.validation.metric;
        quality::evaluate(self.validation.set, &outputs, Some(&self.parents), first).map(Some)
    }
}

fn is_finite(row: &[f32]) -> bool {
    row.iter().all(|v| v.is_finite())
}

fn answers(
    validation: &Validation<'_>,
    output: &str,
    execute: &mut dyn Execute,
) -> Result<Outputs> {
    let mut all = Outputs::default();
    for given in execute.run(validation.samples)? {
        let tensor = given.get(output).ok_or_else(|| {
            Error::input(format!("output `{output}`"), "is not among the model's outputs")
                .remedy("name an output of the model in quality.output")
        })?;
        all.integers = tensor.dtype().is_integer();
        let axes = tensor.shape();
        all.width = if axes.len() > 1 { *axes.last().unwrap_or(&1) } else { 1 };
        all.rows.push(tensor.to_f32());
    }
    Ok(all)
}

/// The value of a budget's figure.
pub(super) fn value_of(figures: &[QualityFigure], metric: BudgetMetric) -> Option<f64> {
    let wanted = match metric {
        BudgetMetric::Cosine => Metric::Cosine,
        BudgetMetric::Agreement => Metric::Agreement,
    };
    figures.iter().find(|f| f.metric == wanted && f.segment == quality::ALL).map(|f| f.value)
}

/// Whether the budget holds; a figure that cannot be had is an error.
pub(super) fn holds(figures: &[QualityFigure], budget: &Budget) -> Result<bool> {
    let value = value_of(figures, budget.metric).ok_or_else(|| {
        Error::input(format!("budget {budget}"), "cannot be measured with this output")
            .remedy("cosine works for any output; agreement needs scores of classes or tokens")
    })?;
    Ok(value >= budget.at_least)
}
