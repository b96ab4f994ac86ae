//! Rank correlation.

/// Spearman's rank correlation: Pearson's of the ranks, equal values sharing their mean rank
/// (Spearman 1904). `None` for fewer than two values, or when one side is constant.
pub fn spearman(a: &[f64], b: &[f64]) -> Option<f64> {
    (a.len() == b.len() && a.len() >= 2).then(|| pearson(&ranks(a), &ranks(b)))?
}

fn pearson(a: &[f64], b: &[f64]) -> Option<f64> {
    let n = a.len() as f64;
    let (mean_a, mean_b) = (a.iter().sum::<f64>() / n, b.iter().sum::<f64>() / n);
    let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for (of_a, of_b) in a.iter().zip(b) {
        let (of_a, of_b) = (of_a - mean_a, of_b - mean_b);
        ab += of_a * of_b;
        aa += of_a * of_a;
        bb += of_b * of_b;
    }
    (aa > 0.0 && bb > 0.0).then(|| ab / (aa * bb).sqrt())
}

fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|i, j| values[*i].total_cmp(&values[*j]));
    let mut ranks = vec![0.0; values.len()];
    let mut from = 0;
    while from < order.len() {
        let ties = order[from..].iter().take_while(|i| {
            values[**i].total_cmp(&values[order[from]]) == std::cmp::Ordering::Equal
        });
        let to = from + ties.count();
        let shared = (from + to - 1) as f64 / 2.0 + 1.0;
        order[from..to].iter().for_each(|i| ranks[*i] = shared);
        from = to;
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_a_worked_example() {
        // IQ and hours of television of ten people: −29/165 (a common textbook example).
        let iq = [86., 97., 99., 100., 101., 103., 106., 110., 112., 113.];
        let hours = [2., 20., 28., 27., 50., 29., 7., 17., 6., 12.];
        assert!((spearman(&iq, &hours).unwrap() + 29.0 / 165.0).abs() < 1e-12);
    }

    #[test]
    fn ties_share_a_rank_and_constants_have_none() {
        assert_eq!(ranks(&[3.0, 1.0, 3.0]), [2.5, 1.0, 2.5]);
        assert_eq!(spearman(&[1.0, 1.0], &[1.0, 2.0]), None);
        assert_eq!(spearman(&[1.0], &[1.0]), None);
    }
}
