//! Statistics: slices in, numbers out. The one place that computes a quantile or an interval.

mod autocorrelation;
mod bootstrap;
mod change_points;
mod early_stopping;
mod paired;
mod proportion;
mod quantile;
mod rank;
mod resample;
mod trend;

pub use autocorrelation::effective_size;
pub use bootstrap::block_bootstrap_rate;
pub use change_points::{ChangePoint, change_points};
pub use early_stopping::required_under;
pub use paired::{SignedRank, deviation, hodges_lehmann, signed_rank_above, student_quantile};
pub use proportion::{paired_difference, wilson};
pub use quantile::{Interval, median, order_statistic, percentile};
pub use rank::spearman;
pub use resample::{bootstrap, bootstrap_mean};
pub use trend::{Trend, trend};

/// The confidence of every interval that is shown: two-sided, 95 %.
pub const CONFIDENCE: f64 = 0.95;
