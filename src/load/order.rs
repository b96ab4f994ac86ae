//! Which sample the next request carries.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

/// Which sample the next request carries.
#[derive(Debug)]
pub struct SampleOrder {
    order: Vec<u32>,
    at: usize,
    shuffle: Option<ChaCha8Rng>,
}

impl SampleOrder {
    /// Concatenated seeded shuffles of samples `0..samples`, so that long and short inputs come
    /// equally often, to within one (LoadGen calls this equal issue).
    pub fn shuffled(samples: u32, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut order: Vec<u32> = (0..samples.max(1)).collect();
        order.shuffle(&mut rng);
        Self { order, at: 0, shuffle: Some(rng) }
    }

    /// These samples in this order, again and again. An empty list issues sample 0.
    pub fn listed(mut samples: Vec<u32>) -> Self {
        if samples.is_empty() {
            samples.push(0);
        }
        Self { order: samples, at: 0, shuffle: None }
    }

    pub(super) fn next(&mut self) -> u32 {
        if self.at == self.order.len() {
            if let Some(rng) = &mut self.shuffle {
                self.order.shuffle(rng);
            }
            self.at = 0;
        }
        self.at += 1;
        self.order[self.at - 1]
    }
}
