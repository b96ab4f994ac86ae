//! Ranking: correlation of scores and of pairs, and retrieval by cosine.

use super::parent::cosine;
use super::{ALL, Metric, Outputs, QualityFigure};
use crate::error::{Error, Result};
use crate::stats::{self, CONFIDENCE};

/// Documents that a user looks at.
const DEPTH: usize = 10;

/// Spearman's correlation of the output's only value with the truth.
pub(super) fn of_scores(
    truth: &[f64],
    outputs: &Outputs,
    parents: Option<&Outputs>,
) -> Result<Vec<QualityFigure>> {
    let width = outputs.rows.first().map_or(0, Vec::len);
    if width != 1 {
        return Err(Error::input(
            "data: scores",
            format!("need one value a sample; the output has {width}"),
        )
        .remedy("name the output with the score (quality.output), or compare pairs"));
    }
    let value = |o: &Outputs| o.rows.iter().map(|row| f64::from(row[0])).collect::<Vec<f64>>();
    Ok(correlation(truth, &value(outputs), parents.map(value).as_deref()))
}

/// Spearman's correlation of the cosine of each pair with the truth.
pub(super) fn of_pairs(
    truth: &[f64],
    outputs: &Outputs,
    parents: Option<&Outputs>,
) -> Vec<QualityFigure> {
    let cosines = |o: &Outputs| -> Vec<f64> {
        // A vector of zeros is like nothing.
        o.rows.chunks_exact(2).map(|p| cosine(&p[0], &p[1]).unwrap_or(0.0)).collect()
    };
    correlation(truth, &cosines(outputs), parents.map(cosines).as_deref())
}

fn correlation(truth: &[f64], now: &[f64], before: Option<&[f64]>) -> Vec<QualityFigure> {
    let rho = |values: &[f64], drawn: &[usize]| {
        let of = |all: &[f64]| drawn.iter().map(|i| all[*i]).collect::<Vec<f64>>();
        stats::spearman(&of(values), &of(truth))
    };
    let n = truth.len().min(now.len());
    let Some(interval) = stats::bootstrap(n, CONFIDENCE, |drawn| rho(now, drawn)) else {
        return Vec::new();
    };
    let delta = before.and_then(|before| {
        stats::bootstrap(n, CONFIDENCE, |drawn| Some(rho(now, drawn)? - rho(before, drawn)?))
    });
    vec![QualityFigure::new(Metric::Spearman, ALL, interval, n).with_delta(delta)]
}

/// Recall and NDCG of the first ten: each query ranks all other samples by cosine; gain is 1 for a
/// relevant one, discounted by log₂(rank + 1) (Järvelin & Kekäläinen 2002).
pub(super) fn of_retrieval(
    lists: &[Vec<u32>],
    outputs: &Outputs,
    parents: Option<&Outputs>,
) -> Vec<QualityFigure> {
    let (recall, ndcg) = per_query(lists, outputs);
    let before = parents.map(|parents| per_query(lists, parents));
    let figure = |metric, now: &[f64], before: Option<&Vec<f64>>| {
        let interval = stats::bootstrap_mean(now, CONFIDENCE)?;
        let delta = before.and_then(|before| {
            let apart: Vec<f64> = now.iter().zip(before).map(|(a, b)| a - b).collect();
            stats::bootstrap_mean(&apart, CONFIDENCE)
        });
        Some(QualityFigure::new(metric, ALL, interval, now.len()).with_delta(delta))
    };
    let figures = [
        figure(Metric::NdcgAt10, &ndcg, before.as_ref().map(|(_, ndcg)| ndcg)),
        figure(Metric::RecallAt10, &recall, before.as_ref().map(|(recall, _)| recall)),
    ];
    figures.into_iter().flatten().collect()
}

/// Recall and NDCG of each query.
fn per_query(lists: &[Vec<u32>], outputs: &Outputs) -> (Vec<f64>, Vec<f64>) {
    let (mut recalls, mut ndcgs) = (Vec::new(), Vec::new());
    for (query, relevant) in lists.iter().enumerate().filter(|(_, list)| !list.is_empty()) {
        // Other queries are not documents, unless a query is answered by them.
        let is_document = |i: usize| {
            i != query && (lists[i].is_empty() || relevant.iter().any(|r| *r as usize == i))
        };
        let near = |i: usize| cosine(&outputs.rows[query], &outputs.rows[i]).unwrap_or(-2.0);
        let mut ranked: Vec<(usize, f64)> =
            (0..outputs.rows.len()).filter(|i| is_document(*i)).map(|i| (i, near(i))).collect();
        ranked.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        let gain = |rank: usize| 1.0 / ((rank + 2) as f64).log2();
        let hits: Vec<usize> = ranked
            .iter()
            .take(DEPTH)
            .enumerate()
            .filter(|(_, (i, _))| relevant.iter().any(|r| *r as usize == *i))
            .map(|(rank, _)| rank)
            .collect();
        let ideal: f64 = (0..relevant.len().min(DEPTH)).map(gain).sum();
        recalls.push(hits.len() as f64 / relevant.len() as f64);
        ndcgs.push(hits.iter().map(|rank| gain(*rank)).sum::<f64>() / ideal);
    }
    (recalls, ndcgs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outputs(rows: &[[f32; 2]]) -> Outputs {
        let rows = rows.iter().map(|r| r.to_vec()).collect();
        Outputs { rows, width: 2, integers: false }
    }

    #[test]
    fn pairs_are_ranked_by_cosine() {
        let out = outputs(&[[1., 0.], [1., 0.], [1., 0.], [1., 1.], [1., 0.], [0., 1.]]);
        let figures = of_pairs(&[5.0, 3.0, 1.0], &out, None);
        assert!((figures[0].value - 1.0).abs() < 1e-12);
        let upside_down = of_pairs(&[1.0, 3.0, 5.0], &out, None);
        assert!((upside_down[0].value + 1.0).abs() < 1e-12);
    }

    #[test]
    fn retrieval_of_a_worked_example() {
        // Sample 0 asks; 1 is nearest, then 2, then 3. Relevant are 1 and 3.
        let out = outputs(&[[1., 0.], [1., 0.1], [1., 1.], [0., 1.]]);
        let figures = of_retrieval(&[vec![1, 3], vec![], vec![], vec![]], &out, None);
        let ndcg = (1.0 + 1.0 / 4_f64.log2()) / (1.0 + 1.0 / 3_f64.log2());
        assert!((figures[0].value - ndcg).abs() < 1e-12);
        assert!((figures[1].value - 1.0).abs() < 1e-12, "both are among the first ten");
        assert_eq!(figures[0].samples, 1);
    }

    #[test]
    fn a_score_is_one_value() {
        let out = outputs(&[[1., 0.]]);
        assert!(
            of_scores(&[1.0], &out, None).unwrap_err().to_string().contains("the output has 2")
        );
    }
}
